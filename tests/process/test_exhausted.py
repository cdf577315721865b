"""No thread to be had, small stacks, an interpreter that is gone."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from ccompile import compiler, run

TERM = signal.SIGTERM

# Root has no limit of threads, so it becomes somebody else.
NO_MORE_THREADS = """
import resource
threads = resource.getrlimit(resource.RLIMIT_NPROC)[1]
def no_more_threads():
    resource.setrlimit(resource.RLIMIT_NPROC, (1, threads))
    try:
        threading.Thread(target=int).start()
    except RuntimeError:
        pass
    else:
        raise AssertionError("there are more")
def threads_again():
    resource.setrlimit(resource.RLIMIT_NPROC, (threads, threads))
if os.getuid() == 0:
    os.setgroups([])
    somebody = 20_000 + os.getpid() % 40_000
    os.setresgid(somebody, somebody, somebody)
    os.setresuid(somebody, somebody, somebody)
"""


@pytest.mark.slow
def test_constructor_without_a_thread(passes, backend: str) -> None:
    """Where the system starts no more threads, the constructor raises, and nothing has
    changed; when it does again, a killer works."""
    passes(
        NO_MORE_THREADS
        + """
backend = sys.argv[1]
GracefulKiller(backend=backend).close()
before = calm()
no_more_threads()
for _ in range(3):
    try:
        GracefulKiller(backend=backend)
    except (OSError, RuntimeError) as error:
        print(error)
    else:
        raise AssertionError("it should have failed")
    equal({}, changes(before))
    equal(None, current())
threads_again()
with GracefulKiller(backend=backend) as killer:
    send(SIGTERM)
    equal(True, killer.wait(LIMIT))
equal({}, changes(before))
""",
        backend,
    )


@pytest.mark.slow
@pytest.mark.parametrize("end", ["exit", "deadline"])
def test_stop_without_a_thread(program, backend: str, end: str) -> None:
    """Where no thread can be started during the stop, all who wait are told and the
    process ends by the signal: by exit(), or stuck at its deadline."""
    child = program(
        NO_MORE_THREADS
        + """
backend, end = sys.argv[1:]
killer = GracefulKiller(backend=backend, grace=LIMIT if end == "exit" else 2)
hooks = []
killer.on_stop(hooks.append, "on_stop")
killer.on_exit(hooks.append, "on_exit")
worker = Worker(target=killer.event.wait)
killer.start(worker)
no_more_threads()
print("ready", flush=True)
assert killer.wait(LIMIT)
assert killer.event.wait(LIMIT)
worker.join(LIMIT)
equal(False, worker.is_alive())
print("told", flush=True)
if end == "deadline":
    time.sleep(1000)
try:
    killer.exit()
finally:
    print(*sorted(hooks), flush=True)
""",
        backend,
        end,
    )
    child.wait_line("ready")
    child.signal(TERM)
    child.wait_line("told")
    done = child.finish()

    assert done.status == -TERM, done.err
    assert done.out.splitlines()[2:] == (["on_exit on_stop"] if end == "exit" else [])


STATIC_TLS = """
__attribute__((tls_model("initial-exec"))) __thread char block[SIZE];

char *
block_of_this_thread(void)
{
    return block;
}
"""


@pytest.mark.parametrize("kilobytes", [200, 400])
def test_large_static_tls(program, tmp_path, kilobytes: int) -> None:
    """Beside a library whose thread-locals fill or exceed the stacks of our native
    threads a killer works, and in a forked child too."""
    # sigwait mode has the most of them.
    source, library = tmp_path / "tls.c", tmp_path / "libtls.so"
    source.write_text(STATIC_TLS)
    size = f"-DSIZE={kilobytes * 1024}"
    run([*compiler(), "-shared", "-fPIC", size, source, "-o", library])
    done = program(
        """
        from forks import fork_to, reap
        killer = GracefulKiller(backend="sigwait", grace=LIMIT)
        def hear():
            send(SIGTERM)
            equal(True, killer.wait(LIMIT))
            assert killer.event.wait(LIMIT)
        equal(0, reap(fork_to(hear)))
        equal(False, killer.kill_now)
        hear()
        killer.close()
        """,
        preload=library,
        options=["-W", "ignore:This process:DeprecationWarning"],
    ).finish()

    assert (done.status, done.err) == (0, "")


def test_small_stacks(start_child, tmp_path) -> None:
    """A program that is started with a small limit of stacks stops gracefully."""
    program = """
        import gracefulexit, os, resource, sys
        if len(sys.argv) == 1:
            hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
            resource.setrlimit(resource.RLIMIT_STACK, (512 * 1024, hard))
            os.execv(sys.executable, [*sys.orig_argv, "limited"])
        with gracefulexit.GracefulKiller(grace=1000) as killer:
            killer.on_stop(print, "hook", flush=True)
            print("ready", flush=True)
            killer.wait()
        killer.exit()
    """
    child = start_child(program)
    child.wait_line("ready")
    child.signal(TERM)
    done = child.finish()

    assert (done.status, done.err) == (-TERM, "")
    assert done.out == "ready\nhook\n"


AFTER_PYTHON = """
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static volatile sig_atomic_t runs;

static void
count(int signum)
{
    (void)signum;
    runs = runs + 1;
}

/* exit() calls this when Py_FinalizeEx() has returned. */
static void
idle(void)
{
    char byte;

    for (int i = 0; i < 1000; i++) {
        (void)kill(getpid(), SIGUSR1);
    }
    (void)!write(1, runs == 1000 ? "all\\n" : "lost\\n", 5 - (runs == 1000));
    while (read(0, &byte, 1) < 0) {
    }
}

void
take(void)
{
    (void)signal(SIGUSR1, count);
    (void)atexit(idle);
}
"""


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "left open"])
def test_idle_after_finalisation(
    program, tmp_path: Path, backend: str, closed: bool
) -> None:
    """A process that lives on when its interpreter is gone neither crashes nor hangs
    at signals: each goes to who had it before the killer."""
    source, library = tmp_path / "idle.c", tmp_path / "libidle.so"
    source.write_text(AFTER_PYTHON)
    run([*compiler(), "-shared", "-fPIC", source, "-o", library])
    reader, writer = os.pipe()
    child = program(
        """
        import ctypes
        ctypes.CDLL(sys.argv[1]).take()
        killer = GracefulKiller(("USR1", "TERM"), backend=sys.argv[2], escalate=())
        killer.fileno()
        if sys.argv[3] == "True":
            killer.close()
        """,
        library,
        backend,
        closed,
        stdin=reader,
    )
    os.close(reader)
    child.wait_line("all")
    child.signal(TERM)
    done = child.finish()
    os.close(writer)

    assert (done.status, done.out, done.err) == (-TERM, "all\n", "")


AGAIN = """
#include <stdlib.h>
#include <string.h>

void Py_Initialize(void);
int PyRun_SimpleString(const char *);
int Py_FinalizeEx(void);

static char *program;

/* exit() calls this when the interpreter of the executable has ended. */
static void
run(void)
{
    for (int i = 0; i < 2; i++) {
        Py_Initialize();
        if (PyRun_SimpleString(program) != 0 || Py_FinalizeEx() != 0) {
            _Exit(3);
        }
    }
}

void
again(const char *source)
{
    program = strdup(source);
    (void)atexit(run);
}
"""


@pytest.mark.slow
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "left open"])
def test_the_interpreter_begins_again(
    program, tmp_path: Path, backend: str, closed: bool
) -> None:
    """A program that embeds Python and starts it once more in the same process has a
    killer there, whatever became of the one before."""
    source, library = tmp_path / "again.c", tmp_path / "libagain.so"
    source.write_text(AGAIN)
    run([*compiler(), "-shared", "-fPIC", source, "-o", library])
    done = program(
        """
        import ctypes
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        SOURCE = f'''if True:
            import os, signal, gracefulexit
            killer = gracefulexit.GracefulKiller(
                ("TERM", "USR1"), grace=500, backend={sys.argv[2]!r})
            with gracefulexit.TerminateProtected():
                os.kill(os.getpid(), signal.SIGUSR1)
            assert killer.wait({LIMIT})
            assert killer.counts[signal.SIGUSR1] == 1, killer.counts
            killer.start(gracefulexit.Worker(target=int))
            print("stopped", flush=True)
            if {sys.argv[3]}:
                killer.close()
        '''
        ctypes.CDLL(sys.argv[1]).again(SOURCE.encode())
        exec(SOURCE)
        """,
        library,
        backend,
        closed,
    ).finish()

    assert (done.status, done.out, done.err) == (0, "stopped\n" * 3, "")
