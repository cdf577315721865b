"""celery -A celery_app worker --pool threads

Celery finishes the tasks, and a killer in the worker process stops what runs beside
them.
"""

from contextlib import ExitStack

from celery import Celery
from celery.signals import worker_ready, worker_shutdown

from gracefulexit import GracefulKiller, Worker

app = Celery("celery_app", broker="memory://")  # put yours here
running = ExitStack()


class Mailer(Worker):
    """Stands for what runs beside the tasks."""

    def run(self):
        while not self.wait(3600):
            print("mailer: worked", flush=True)
        print("mailer: stopped", flush=True)


@worker_ready.connect
def start(**_):
    # Celery's own handlers are there by now: chain=True has both hear.
    killer = running.enter_context(GracefulKiller(grace=25, chain=True))
    killer.on_exit(print, "closed", flush=True)
    killer.start(Mailer())


@worker_shutdown.connect
def stop(**_):
    running.close()


@app.task
def add(x, y):
    return x + y
