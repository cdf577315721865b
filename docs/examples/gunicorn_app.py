"""The application for gunicorn_conf.py; it need not know."""


def app(environ, start_response):
    """Answers with the length of what is sent."""
    print("receiving", flush=True)
    body = b"%d bytes" % len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
