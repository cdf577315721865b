"""gunicorn -c gunicorn_conf.py gunicorn_app:app

A killer in each worker process, for what the application runs beside the requests:
with and without --preload, with sync and gthread workers.
"""

from contextlib import ExitStack

from gracefulexit import GracefulKiller, Worker

graceful_timeout = 30  # more than the grace: then gunicorn kills the worker

running = ExitStack()


class Mailer(Worker):
    """Stands for what runs beside the requests."""

    def run(self):
        while not self.wait(3600):
            print("mailer: worked", flush=True)
        print("mailer: stopped", flush=True)


def post_worker_init(worker):
    # gunicorn's own handlers and the application are there: chain=True has both hear.
    killer = running.enter_context(GracefulKiller(grace=25, chain=True))
    killer.on_exit(print, "closed", flush=True)
    killer.start(Mailer())


def worker_exit(server, worker):
    running.close()
