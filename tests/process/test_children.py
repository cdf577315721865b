"""Whatever way a child is made, it is a normal child and never touches the parent."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ccompile import once, shared_library
from children import WAYS, look, sleeping
from forks import HEARD
from probe import until

HARNESS = Path(__file__).resolve().parents[1] / "harness"
FORK_FROM_C, SYSTEM_OF_C = FROM_C = ["fork from C", "system() from C"]
OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

PROGRAM = """
import gc, json, warnings
from signal import SIGKILL
from children import WAYS, look
from forks import in_thread
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of forks
backend, way, on_fork = sys.argv[1:]
ours = backend != "without us"
not_shared = set(descriptors().values())
if ours:
    killer = GracefulKiller(backend=backend, on_fork=on_fork)
    heard = threading.Event()
    killer.on("HUP", lambda info: heard.set())
    killer.fileno()
not_shared = set(descriptors().values()) - not_shared

def one():
    seen = {}
    def found(pid):
        seen.update(look(pid, not_shared))
        blocked, caught = (int(seen[name], 16) for name in ("SigBlk:", "SigCgt:"))
        deaf = (blocked & ~caught) >> SIGTERM - 1 & 1
        os.kill(pid, SIGKILL if deaf else SIGTERM)
    seen["status"] = WAYS[way](found)
    gc.collect()  # a pool leaves descriptors behind, which the next child would have
    return seen

print(json.dumps({"main": one(), "thread": in_thread(one)}))
if ours:
    # A signal of its own, for the watcher and the dispatcher to have had the
    # occasion to act on those of the children.
    send(SIGHUP)
    assert heard.wait(LIMIT)
    equal({SIGTERM: 0, SIGINT: 0, SIGHUP: 1}, dict(killer.counts))
    equal((False, None, True), (killer.kill_now, killer.reason, killer.armed))
    equal([], select.select([killer], [], [], 0)[0])
    send(SIGTERM)
    equal(True, killer.wait(LIMIT))
    equal([killer], select.select([killer], [], [], LIMIT)[0])
    killer.close()
"""

Seen = dict[str, dict[str, Any]]
Look = Callable[..., Seen]


@pytest.fixture
def children(program, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Look:
    """What a child of this way shows, in a program with a killer or without us."""

    def run(backend: str, way: str, on_fork: str = "auto") -> Seen:
        env = {}
        if way == FORK_FROM_C:
            env["FORKS_IN_C"] = str(shared_library(HARNESS / "forks.c", tmp_path))
        done = program(PROGRAM, backend, way, on_fork, env=env).finish()

        assert (done.status, done.err) == (0, "")
        return json.loads(done.out)

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # the one that they share

    def look(backend: str, way: str, on_fork: str = "auto") -> Seen:
        if backend != "without us":
            return run(backend, way, on_fork)

        def make(new: Path) -> None:
            new.write_text(json.dumps(run(backend, way)))

        (folder / "without us").mkdir(exist_ok=True)
        return json.loads(once(folder / "without us" / way, make).read_text())

    return look


def plus(mask: str) -> str:
    """With the killer's signals in it."""
    return f"{int(mask, 16) | sum(1 << s - 1 for s in OURS):016x}"


def rearmed(normal: dict[str, Any], seen: dict[str, Any], backend: str) -> None:
    """This child has a killer of its own, and is otherwise what it would have been.

    Its pipe, if it has one, is its own as well: the program looks at that."""
    expected = {**normal, "status": HEARD, "SigCgt:": plus(normal["SigCgt:"])}
    if backend == "sigwait":
        expected["SigBlk:"] = plus(normal["SigBlk:"])

    assert expected == {**seen, "high": []}


# The way from which a quick test of each kind is made; the rest is slow.
QUICK = ["Popen", "Popen, close_fds=False", "os.fork", "multiprocessing fork"]
FORKS = ["os.fork", "pty.fork", "double fork"]


def ways(names: list[str]) -> list[Any]:
    return [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in names
    ]


@pytest.mark.parametrize("way", ways([w for w in WAYS if w not in (*FORKS, *FROM_C)]))
def test_children_stay_normal(children: Look, backend: str, way: str) -> None:
    """A child has the masks, dispositions and descriptors that it would have without
    us, SIGTERM does to it what it would have done, and the parent hears nothing."""
    normal = children("without us", way)

    assert normal == children(backend, way)
    tracker = way == "resource tracker"
    assert (None if tracker else -signal.SIGTERM) == normal["main"]["status"]


@pytest.mark.parametrize("way", ways(FORKS))
def test_forked_children_hear(children: Look, backend: str, way: str) -> None:
    """A child of os.fork() or pty.fork() stops gracefully by a killer of its own,
    shares nothing with the parent's, and is otherwise as it would be without us."""
    normal, seen = children("without us", way), children(backend, way)

    for place in normal:
        rearmed(normal[place], seen[place], backend)


@pytest.mark.parametrize("way", ways([*FORKS, "multiprocessing fork"]))
def test_on_fork_reset(children: Look, backend: str, way: str) -> None:
    """on_fork="reset": forked children are as they would be without us."""
    assert children("without us", way) == children(backend, way, "reset")


@pytest.mark.parametrize("way", ways([*FORKS, "multiprocessing fork"]))
def test_on_fork_rearm(children: Look, backend: str, way: str) -> None:
    """on_fork="rearm": children of multiprocessing's fork hear for themselves too."""
    normal, seen = children("without us", way), children(backend, way, "rearm")

    for place in normal:
        rearmed(normal[place], seen[place], backend)


@pytest.mark.slow
def test_fork_from_c(children: Look, backend: str) -> None:
    """A child that C code forks has our handler, which ends it by the signal, as the
    default would, and touches nothing that it shares with us."""
    normal, seen = children("without us", FORK_FROM_C), children(backend, FORK_FROM_C)

    for place in normal:
        expected = {
            **normal[place],
            "SigCgt:": plus(normal[place]["SigCgt:"]),
            "shared": seen[place]["shared"],  # it has all of the parent's
        }
        assert expected == {**seen[place], "high": []}


@pytest.mark.slow
def test_spawned_by_c(children: Look, backend: str) -> None:
    """A child that C code spawns is normal; with sigwait it has the mask of the thread
    that made it."""
    normal, seen = children("without us", SYSTEM_OF_C), children(backend, SYSTEM_OF_C)

    for place in normal:
        expected = dict(normal[place])
        if backend == "sigwait":
            expected["SigBlk:"] = plus(expected["SigBlk:"])
            expected["status"] = -signal.SIGKILL
        assert expected == seen[place]


@pytest.mark.slow
def test_system_takes_nothing_over(program, backend: str) -> None:
    """os.system() has SIGINT ignored while it runs and puts us back: the log does not
    say that somebody has taken it for good, and SIGTERM is heard meanwhile."""
    done = program(
        """
        killer = GracefulKiller(backend=sys.argv[1])
        turned = threading.Event()
        killer.on("HUP", lambda info: turned.set())
        call = "mkdir there; until [ -e over ]; do sleep 0.01; done"
        thread = threading.Thread(target=os.system, args=(call,))
        thread.start()
        until(lambda: os.path.exists("there"), "it runs")
        equal(False, killer.armed)
        equal(False, killer.wait(0))  # a natural moment to look
        send(SIGHUP)
        assert turned.wait(LIMIT)
        send(SIGTERM)
        assert killer.event.wait(LIMIT)
        os.mkdir("over")
        thread.join()
        equal(True, killer.armed)
        killer.close()
        """,
        backend,
    ).finish()

    assert (done.status, done.err) == (0, "")


def test_exec(program, backend: str) -> None:
    """A program that replaces itself by exec() leaves it nothing of ours: neither
    handlers, masks, descriptors nor a deadline."""
    child = program(
        """
        import json
        from children import SLEEP
        before = masks()
        killer = GracefulKiller(backend=sys.argv[1], grace=500)
        killer.fileno()
        print(json.dumps(before), flush=True)
        os.execv(SLEEP[0], SLEEP)
        """,
        backend,
    )
    before = json.loads(child.wait_line("{"))
    until(lambda: sleeping(Path(f"/proc/{child.pid}")), "it sleeps")
    after = look(child.pid, set())
    child.signal(signal.SIGTERM)
    done = child.finish()

    assert {**before, "SigCgt:": "0" * 16} == {name: after[name] for name in before}
    assert after["high"] == []
    assert (done.status, done.err) == (-signal.SIGTERM, "")
