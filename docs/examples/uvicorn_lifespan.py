"""An application for `uvicorn uvicorn_lifespan:app`: uvicorn stops the requests, and a
killer made in the lifespan stops what the application has started."""

from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from gracefulexit import GracefulKiller, Worker


class Mailer(Worker):
    """Stands for what runs beside the requests."""

    def run(self):
        while not self.wait(3600):
            print("mailer: worked", flush=True)
        print("mailer: stopped", flush=True)


@asynccontextmanager
async def lifespan(app):
    # uvicorn has installed its handlers by now: chain=True has both hear.
    with GracefulKiller(grace=25, chain=True) as killer:
        killer.on_exit(print, "closed", flush=True)
        killer.start(Mailer())
        yield


async def length(request):
    """Answers with the length of what is sent."""
    size = 0
    async for data in request.stream():
        if not size:
            print("receiving", flush=True)
        size += len(data)
    return PlainTextResponse(f"{size} bytes")


app = Starlette(routes=[Route("/", length, methods=["POST"])], lifespan=lifespan)
