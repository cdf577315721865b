"""A Flask application on werkzeug's server, without any exception: a hook ends it."""

from flask import Flask, request
from werkzeug.serving import make_server

from gracefulexit import GracefulKiller

app = Flask(__name__)


@app.post("/")
def length():
    """Answers with the length of what is sent."""
    print("receiving", flush=True)
    return f"{len(request.get_data())} bytes"


def main():
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = False  # server_close() waits for open requests
    server.log_startup()
    with GracefulKiller(grace=25) as killer:
        killer.on_stop(server.shutdown)
        killer.on_exit(print, "closed", flush=True)
        server.serve_forever()
    killer.exit()


if __name__ == "__main__":
    main()
