"""Many threads, many processes, random moments: counts are exact, nobody hangs."""

from __future__ import annotations

import pytest
from ccompile import compiler, run

SENDERS = """
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

static _Atomic(long) runs;
static pthread_t senders[10];
static int signum, each;

static void
count(int sig)
{
    (void)sig;
    runs++;
}

/* Itself it gets none. The queue may be full: then it is not sent yet. */
static void *
shoot(void *unused)
{
    const union sigval none = { 0 };
    sigset_t all;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
    for (int i = 0; i < each; i++) {
        while (sigqueue(getpid(), signum, none) != 0) {
            (void)sched_yield();
        }
    }
    return unused;
}

void
take(int sig)
{
    signum = sig;
    (void)signal(signum, count);
}

void
start(int number)
{
    each = number;
    for (int i = 0; i < 10; i++) {
        (void)pthread_create(&senders[i], NULL, shoot, NULL);
    }
}

void
join(void)
{
    for (int i = 0; i < 10; i++) {
        (void)pthread_join(senders[i], NULL);
    }
}

long
runs_of_theirs(void)
{
    return runs;
}
"""


@pytest.mark.race
@pytest.mark.slow
def test_many_threads_make_and_close_killers(passes, tmp_path, backend: str) -> None:
    """24 threads make and close killers while ten others send: each signal is counted
    by us or run by who had it before, once."""
    source, library = tmp_path / "senders.c", tmp_path / "libsenders.so"
    source.write_text(SENDERS)
    run([*compiler(), "-shared", "-fPIC", "-pthread", source, "-o", library])
    passes(
        """
        import ctypes
        from gracefulexit import lowlevel
        c = ctypes.CDLL(sys.argv[1])
        signum, backend = signal.SIGRTMIN + 5, sys.argv[2]
        c.take(signum)
        each = len(times(300))
        begin = threading.Barrier(25)
        over, made = threading.Event(), [0] * 24
        def work(n):
            begin.wait()
            while not over.is_set() or made[n] < 5:
                with GracefulKiller(signum, escalate=(), backend=backend):
                    made[n] += 1
        threads = [threading.Thread(target=work, args=(n,)) for n in range(24)]
        for thread in threads: thread.start()
        begin.wait()
        c.start(each)
        c.join()
        over.set()
        for thread in threads: thread.join()
        counted = lambda: sum(lowlevel.counts(signum).values()) + c.runs_of_theirs()
        until(lambda: counted() >= 10 * each, "all are counted")
        equal(10 * each, counted())
        equal((None, "running"), (current(), lowlevel.state()))
        """,
        library,
        backend,
    )


@pytest.mark.slow
@pytest.mark.long
def test_storm_of_eight_senders(passes, backend: str) -> None:
    """Of 50,000 signals from each of eight processes every one is counted, and main
    hears a stop behind them."""
    passes(
        """
        import collections
        from gracefulexit import lowlevel
        from queued import start_sender
        signum, each = signal.SIGRTMIN + 1, 50_000
        reader, writer = os.pipe2(os.O_NONBLOCK)
        killer = GracefulKiller(backend=sys.argv[1])
        killer.take(signum)
        lowlevel.add_wakeup_fd(writer)  # which nobody reads, and is full soon
        senders = [start_sender(signum, 0, each) for _ in range(8)]
        equal([0] * 8, [sender.wait() for sender in senders])
        until(lambda: killer.counts[signum] >= 8 * each, "all are heard")
        equal((8 * each, False), (killer.counts[signum], killer.kill_now))
        equal(8 * each, killer.take(signum))
        send(SIGTERM)
        assert killer.wait(LIMIT) and killer.event.wait(LIMIT)
        unread = collections.Counter(os.read(reader, 1 << 20))
        equal({signum}, set(unread))
        killer.close()
        """,
        backend,
    )


SPAWN = {
    "Popen": "subprocess.Popen(SLEEP).wait()",
    "preexec_fn": "subprocess.Popen(SLEEP, preexec_fn=lambda: None).wait()",
    "ours": "reaped(Popen(SLEEP))",
    "posix_spawn": "reap(os.posix_spawn(SLEEP[0], SLEEP, os.environ))",
}


@pytest.mark.race
@pytest.mark.slow
@pytest.mark.parametrize("way", SPAWN)
def test_signal_at_any_moment_of_a_spawn(passes, way: str) -> None:
    """A SIGTERM that reaches a new child at any moment before or after its exec ends
    that child by it, and is not heard by the parent."""
    passes(
        """
        import random, subprocess
        from pathlib import Path
        from forks import fork_to, reap
        SLEEP = ["/bin/sleep", "1000"]
        children = Path(f"/proc/self/task/{os.getpid()}/children")
        go, told = os.pipe(), os.pipe()

        def shoot():
            listed = Path(f"/proc/{os.getppid()}/task/{os.getppid()}/children")
            os.close(go[1])
            while delay := os.read(go[0], 4):
                others = []
                while not others:
                    words = listed.read_text().split()
                    others = [int(w) for w in words if int(w) != os.getpid()]
                end = time.perf_counter() + int(delay) / 1e6
                while time.perf_counter() < end:
                    pass
                os.kill(others[0], SIGTERM)
                os.write(told[1], b"s")

        def reaped(process):
            with process:
                return process.wait()

        shooter = fork_to(shoot)
        os.close(go[0])
        killer = GracefulKiller()
        died_before_exec = 0
        for n in times(100):
            os.write(go[1], b"%4d" % random.randrange(1500))
            try:
                status = eval(sys.argv[1])
            except subprocess.SubprocessError:  # it could not tell of its exec
                assert "preexec_fn" in sys.argv[1]
                status = -15
            equal((n, -15), (n, status))
            equal(b"s", os.read(told[0], 1))
            equal((False, 0), (killer.kill_now, killer.counts[SIGTERM]))
        os.close(go[1])
        equal(0, reap(shooter))
        killer.close()
        """,
        SPAWN[way],
    )


@pytest.mark.race
@pytest.mark.slow
def test_main_in_an_events_lock_under_a_storm(passes, handler_backend: str) -> None:
    """Main takes the locks of events and queues without a pause, under signals without
    a pause, while the same events are set: nothing hangs."""
    passes(
        """
        import queue
        main, over = threading.main_thread().ident, threading.Event()
        fed = queue.Queue()
        def shoot():
            while not over.is_set():
                signal.pthread_kill(main, SIGTERM)
                signal.pthread_kill(main, SIGUSR1)
        keeper = GracefulKiller((), backend=sys.argv[1])
        keeper.on("TERM", lambda info: fed.put(info))  # ours between the killers too
        keeper.on("USR1", lambda info: None)
        shooter = threading.Thread(target=shoot)
        shooter.start()
        for n in times(100):
            with GracefulKiller("TERM", escalate=()) as killer:
                worker = Worker(target=lambda: worker.wait())
                killer.start(worker)
                while not killer.event.wait(0):
                    worker.shutdown_flag.is_set()
                    killer.event.is_set()
                    worker.wait(0)
                fed.get()
                equal((True, True), (killer.kill_now, killer.wait(0)))
        over.set()
        shooter.join()
        keeper.close()
        """,
        handler_backend,
    )
