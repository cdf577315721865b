"""`serve_forever()` in the main thread, ended by a hook that shuts the server down."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from gracefulexit import GracefulKiller


class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")


def main():
    with GracefulKiller(grace=25) as killer:
        with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as httpd:
            killer.on_stop(httpd.shutdown)
            print("ready", httpd.server_port, flush=True)
            httpd.serve_forever()
        print("server closed")
    killer.exit()


if __name__ == "__main__":
    main()
