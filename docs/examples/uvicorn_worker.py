"""uvicorn in a worker: one stop and one time limit for the server and all else."""

import uvicorn

from gracefulexit import GracefulKiller, Worker


async def app(scope, receive, send):
    """Answers with the length of what is sent."""
    print("receiving", flush=True)
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d bytes" % size})


class WebServer(Worker):
    """Outside the main thread uvicorn leaves the signals alone."""

    def __init__(self, config):
        super().__init__(name="uvicorn")
        self.server = uvicorn.Server(config)

    def run(self):
        try:
            self.server.run()
        except SystemExit as error:  # which would end this thread only
            raise RuntimeError("uvicorn did not start") from error

    def shutdown(self):
        self.server.should_exit = True
        super().shutdown()


class Mailer(Worker):
    """Stands for all else that runs."""

    def run(self):
        while not self.wait(3600):
            print("mailer: worked", flush=True)
        print("mailer: stopped", flush=True)


def main():
    config = uvicorn.Config(
        app,
        port=0,  # any that is free
        lifespan="off",
        timeout_graceful_shutdown=20,  # less than the grace
    )
    with GracefulKiller(grace=25) as killer:
        killer.on_exit(print, "closed", flush=True)
        killer.start(Mailer(), WebServer(config))
        killer.join()
    killer.exit()


if __name__ == "__main__":
    main()
