"""A web site that is rebuilt again and again, while a process of its own serves it.

    python site_builder.py FOLDER COMMAND...

COMMAND is any program that writes the page to its standard output.

Ctrl-C goes to every process of the terminal's foreground group: to this one, and to
the server, which it does not cut. COMMAND has a group of its own and does not get it.
The build in hand is finished, COMMAND included, and the server answers the requests
that are open; then all have ended.
"""

import functools
import logging
import os
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from gracefulexit import GracefulKiller, Popen, ProcessWorker

BUILD = 30  # seconds that the build in hand gets to finish after the stop


class Httpd(ThreadingHTTPServer):
    daemon_threads = False  # server_close() waits for the requests that are open


class Server(ProcessWorker):
    start_method = "spawn"  # a fresh process, with nothing of the builder in it

    def __init__(self, folder):
        super().__init__(name="server")
        self.folder = folder

    def run(self):
        handler = functools.partial(SimpleHTTPRequestHandler, directory=self.folder)
        with Httpd(("127.0.0.1", 0), handler) as httpd:
            self.on_stop(httpd.shutdown)
            print("serving", httpd.server_port, flush=True)
            httpd.serve_forever(poll_interval=0.05)


def build(folder, command):
    new, page = os.path.join(folder, "new"), os.path.join(folder, "index.html")
    # The stop asks every program, and this one shall finish: so its schedule begins
    # with the time that it gets for that.
    unasked = (BUILD, "TERM", 5, "KILL")
    with open(new, "wb") as out, Popen(command, stdout=out, stop=unasked) as program:
        program.wait()
    if program.returncode == 0:
        os.replace(new, page)  # at once: nobody is served half a page
    print("built, status", program.returncode, flush=True)


def main(folder, *command):
    with GracefulKiller(grace=BUILD + 15) as killer:
        Server(folder).start()
        while not killer.kill_now:
            build(folder, command)
            killer.wait(1)
    print("all have ended", flush=True)
    killer.exit()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(*sys.argv[1:])
