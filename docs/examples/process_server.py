"""`serve_forever()` in a process of its own, while the main process works.

Ctrl-C on the terminal finishes the work in hand and the open requests.
"""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from gracefulexit import GracefulKiller, ProcessWorker


class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")


class Server(ProcessWorker):
    def run(self):
        with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as httpd:
            self.on_stop(httpd.shutdown)
            print("ready", httpd.server_port, flush=True)
            httpd.serve_forever(poll_interval=0.05)
        print("server closed", flush=True)


def main():
    with GracefulKiller(grace=25) as killer:
        killer.start(Server(name="server"))
        while not killer.wait(3600):
            print("working", flush=True)
    print("all ended", flush=True)
    killer.exit()


if __name__ == "__main__":
    main()
