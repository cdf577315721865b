"""Hooks that call the shutdown() of servers, executors and queues directly.

From a Python signal handler these calls hang, as the handler runs on top of what
holds their locks; a hook has a thread of its own.
"""

from __future__ import annotations

import queue
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from child_process import Finished

HEAD = """
import queue, random, urllib.request
from concurrent.futures import CancelledError, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def soon():
    '''A signal at any moment of what main does next.'''
    def later():
        time.sleep(random.random() / 200)
        send(SIGTERM)
    thread = threading.Thread(target=later)
    thread.start()
    return thread

def rounds_of(one, count):
    for _ in times(count):
        with GracefulKiller(grace=LIMIT) as killer:
            one(killer)
"""


@pytest.fixture
def checks(passes: Callable[..., Finished]) -> Callable[..., Finished]:
    def run(source: str, *args: object, **kwargs: Any) -> Finished:
        return passes(HEAD + textwrap.dedent(source), *args, **kwargs)

    return run


# ---- servers -------------------------------------------------------------------

SERVER = """
class Slow(BaseHTTPRequestHandler):
    def do_GET(self):
        asked.set()
        assert answer.wait(LIMIT)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"answer")
    def log_message(self, *args): pass

asked, answer = threading.Event(), threading.Event()
"""


def test_main_serves(checks) -> None:
    """serve_forever() in main ends by a hook that is httpd.shutdown itself, and the
    request that was open is answered."""
    checks(
        SERVER
        + textwrap.dedent(
            """
            answers = []
            def get(port):
                url = f"http://127.0.0.1:{port}/"
                with urllib.request.urlopen(url, timeout=LIMIT) as reply:
                    answers.append(reply.read())
            with GracefulKiller(grace=LIMIT) as killer:
                with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as httpd:
                    httpd.daemon_threads = False
                    client = threading.Thread(target=get, args=(httpd.server_port,))
                    client.start()
                    killer.on_stop(httpd.shutdown)
                    def signal_it():
                        assert asked.wait(LIMIT)
                        send(SIGTERM)
                        assert killer.wait(LIMIT)
                        answer.set()
                    threading.Thread(target=signal_it).start()
                    httpd.serve_forever(poll_interval=0.01)
                client.join(LIMIT)
            equal([b"answer"], answers)
            """
        )
    )


def test_the_stop_comes_before_it_serves(checks) -> None:
    """serve_forever() that begins after the hook returns at once."""
    checks(
        SERVER
        + textwrap.dedent(
            """
            with GracefulKiller(grace=LIMIT) as killer:
                with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as httpd:
                    killer.on_stop(httpd.shutdown)
                    send(SIGTERM)
                    assert killer.wait(LIMIT)
                    httpd.serve_forever(poll_interval=0.01)
            """
        )
    )


@pytest.mark.race
@pytest.mark.slow
def test_a_signal_at_any_moment_of_serving(checks) -> None:
    """Before it serves, while it begins, while it polls: it ends, every time."""
    checks(
        SERVER
        + textwrap.dedent(
            """
            def one(killer):
                with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as httpd:
                    killer.on_stop(httpd.shutdown)
                    sender = soon()
                    httpd.serve_forever(poll_interval=0.002)
                    sender.join()
            rounds_of(one, 100)
            """
        )
    )


# ---- executors -----------------------------------------------------------------


def test_main_in_the_block_of_an_executor(checks) -> None:
    """What runs ends, what waits is cancelled, and main leaves the block."""
    checks(
        """
        ended = []
        def work(n):
            assert killer.wait(LIMIT)
            until(lambda: futures[-1].cancelled(), "the last is cancelled")
            ended.append(n)
        with GracefulKiller(grace=LIMIT) as killer:
            with ThreadPoolExecutor(2) as executor:
                futures = [executor.submit(work, n) for n in range(10)]
                killer.on_stop(executor.shutdown, cancel_futures=True)
                threading.Thread(target=send, args=(SIGTERM,)).start()
        equal([0, 1], sorted(ended))
        equal(8, sum(f.cancelled() for f in futures))
        """
    )


def test_main_waits_for_futures(checks) -> None:
    """Main, blocked on the futures themselves, goes on."""
    checks(
        """
        with GracefulKiller(grace=LIMIT) as killer:
            executor = ThreadPoolExecutor(1)
            def work():
                assert killer.wait(LIMIT)
                until(lambda: second.cancelled(), "the second is cancelled")
                return "done"
            first, second = [executor.submit(work) for _ in range(2)]
            killer.on_stop(executor.shutdown, cancel_futures=True)
            threading.Thread(target=send, args=(SIGTERM,)).start()
            equal("done", first.result(LIMIT))
            try:
                second.result(LIMIT)
            except CancelledError:
                pass
            else:
                raise AssertionError("not cancelled")
        """
    )


@pytest.mark.race
@pytest.mark.slow
def test_a_signal_at_any_moment_of_submit(checks) -> None:
    """submit() holds the lock that shutdown() takes; neither waits for ever, and what
    was submitted is done or cancelled."""
    checks(
        """
        def one(killer):
            with ThreadPoolExecutor(2) as executor:
                killer.on_stop(executor.shutdown, cancel_futures=True)
                sender = soon()
                futures = []
                try:
                    while True:
                        futures.append(executor.submit(int))
                except RuntimeError:
                    pass  # cannot schedule new futures after shutdown
            sender.join()
            assert all(f.done() for f in futures)
        rounds_of(one, 100)
        """
    )


# ---- queues --------------------------------------------------------------------

# How consumers that block in get() are told, with what this Python has.
TOLD = {
    "a None for each": """
        def tell(jobs, consumers):
            for _ in range(consumers):
                jobs.put(None)
    """,
}
if hasattr(queue.Queue, "shutdown"):  # 3.13
    TOLD["shutdown()"] = """
        def tell(jobs, consumers):
            raise AssertionError("the hook is jobs.shutdown itself")
    """
CONSUME = """
def consume(jobs, done):
    try:
        while (job := jobs.get()) is not None:
            done.append(job)
    except getattr(queue, "ShutDown", ()):
        pass

def hook(killer, jobs, consumers):
    if sys.argv[1] == "shutdown()":
        killer.on_stop(jobs.shutdown)
    else:
        killer.on_stop(tell, jobs, consumers)
"""


@pytest.mark.parametrize("way", TOLD)
def test_consumers_blocked_in_get(checks, way: str) -> None:
    """They end, main in get() among them, and what was in the queue is done first."""
    checks(
        textwrap.dedent(TOLD[way])
        + CONSUME
        + textwrap.dedent(
            """
            jobs, done = queue.Queue(), []
            with GracefulKiller(grace=LIMIT) as killer:
                hook(killer, jobs, 4)
                consumers = [
                    threading.Thread(target=consume, args=(jobs, done))
                    for _ in range(3)
                ]
                for thread in consumers:
                    killer.add(thread, stop=lambda: None)
                    thread.start()
                for n in range(100):
                    jobs.put(n)
                threading.Thread(target=send, args=(SIGTERM,)).start()
                consume(jobs, done)
                equal([], killer.join(LIMIT))
            equal(list(range(100)), sorted(done))
            """
        ),
        way,
    )


@pytest.mark.race
@pytest.mark.slow
@pytest.mark.parametrize("way", TOLD)
def test_a_signal_at_any_moment_of_put_and_get(checks, way: str) -> None:
    """Main holds the queue's lock again and again; the hook gets it in between."""
    checks(
        textwrap.dedent(TOLD[way])
        + CONSUME
        + textwrap.dedent(
            """
            def one(killer):
                jobs = queue.Queue()
                hook(killer, jobs, 1)
                sender = soon()
                try:
                    while True:
                        jobs.put(1)
                        if jobs.get() is None:
                            break
                except getattr(queue, "ShutDown", ()):
                    pass
                sender.join()
            rounds_of(one, 100)
            """
        ),
        way,
    )
