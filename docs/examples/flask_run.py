"""Flask's development server: SIGTERM and Ctrl-C end it after the open requests."""

from contextlib import suppress

from flask import Flask, request
from werkzeug.serving import ThreadedWSGIServer

from gracefulexit import GracefulKiller, Worker

app = Flask(__name__)


@app.post("/")
def length():
    """Answers with the length of what is sent."""
    print("receiving", flush=True)
    return f"{len(request.get_data())} bytes"


class Mailer(Worker):
    """Stands for what runs beside the requests."""

    def run(self):
        while not self.wait(3600):
            print("mailer: worked", flush=True)
        print("mailer: stopped", flush=True)


def main():
    # Or their threads are left behind.
    ThreadedWSGIServer.daemon_threads = False
    with GracefulKiller(grace=25, raises=KeyboardInterrupt) as killer:
        killer.on_exit(print, "closed", flush=True)
        killer.start(Mailer())
        with suppress(KeyboardInterrupt):  # it may come before the server serves
            app.run(port=0)
    killer.exit()


if __name__ == "__main__":
    main()
