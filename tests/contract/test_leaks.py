"""No public callable leaks: threads, descriptors, references, objects, memory maps."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import gracefulexit
from gracefulexit import lowlevel

HARNESS = Path(__file__).resolve().parents[1] / "harness"

# What is done again and again; `killer` is alive in all, unless the text makes its own.
# Keyed by public name.
USES = {
    "GracefulExit": "GracefulExit(SignalInfo(15), 143).code",
    "GracefulExit.code": "e = GracefulExit(SignalInfo(15), 143); e.code; e.code = 1",
    "GracefulKiller": "GracefulKiller(('HUP', 'RTMIN+1'), grace=5).close()",
    "GracefulKiller.__enter__": "with GracefulKiller('HUP') as k: k.stop()",
    "GracefulKiller.add": "w = Worker(target=nothing); own.add(w); w.start(); w.join()",
    "GracefulKiller.armed": "killer.armed",
    "GracefulKiller.checkpoint": (
        "killer.checkpoint(); stopping(own); caught(own.checkpoint)"
    ),
    "GracefulKiller.close": "own.fileno(); own.close(); own.close()",
    "GracefulKiller.counts": "killer.counts",
    "GracefulKiller.event": "killer.event.is_set()",
    "GracefulKiller.exit": "caught(own.exit)",
    "GracefulKiller.extend": "stopping(own); own.extend(1)",
    "GracefulKiller.fileno": "own.fileno(); own.fileno()",
    "GracefulKiller.flag_address": "killer.flag_address",
    "GracefulKiller.join": "own.start(Worker(target=nothing)); own.join()",
    "GracefulKiller.kill_now": "killer.kill_now",
    "GracefulKiller.on": "heard(own, 'USR1'); heard(own, 'RTMIN+1')",
    "GracefulKiller.on_exit": "own.on_exit(nothing)",
    "GracefulKiller.on_stop": (
        "e = threading.Event(); own.on_stop(e.set); own.stop(); e.wait()"
    ),
    "GracefulKiller.rearm": "own.rearm()",
    "GracefulKiller.reason": "stopping(own); str(own.reason)",
    "GracefulKiller.remaining": "stopping(own); own.remaining()",
    "GracefulKiller.report": "str(killer.report()); killer.report().to_dict()",
    "GracefulKiller.start": "own.start(Worker(target=nothing)); own.join()",
    "GracefulKiller.stop": "own.stop('x')",
    "GracefulKiller.take": "own.take('USR1'); send(SIGUSR1); own.take('USR1')",
    "GracefulKiller.wait": "killer.wait(0); stopping(own); own.wait()",
    "GracefulKiller.wait_async": (
        "asyncio.run(killer.wait_async(0)); asyncio.run(waits(own))"
    ),
    "Popen": "with Popen(SLEEPS, stdout=-1): own.stop()",
    "Popen.communicate": "Popen('true', stdin=-1, stdout=-1).communicate(b'x', LIMIT)",
    "Popen.is_alive": "p = Popen('true'); p.wait(LIMIT); p.is_alive()",
    "Popen.join": "p = Popen('true'); p.join(0); p.join(LIMIT)",
    "Popen.poll": "p = Popen('true'); until(lambda: p.poll() is not None, 'end')",
    "Popen.send_signal": "p = Popen(SLEEPS); p.send_signal(15); p.wait()",
    "Popen.shutdown": (
        "p = Popen(SLEEPS, stdin=-1, stop=('EOF', 0, 'TERM', LIMIT, 'KILL'))\n"
        "with p: p.shutdown(); p.join()"
    ),
    "ProcessWorker": "ProcessWorker()",
    "ProcessWorker.close": "p = Forked(); p.start(); p.join(); p.close()",
    "ProcessWorker.error": "p = Forked(); p.start(); p.join(); p.error",
    "ProcessWorker.ident": "p = Forked(); p.start(); p.ident; p.join()",
    "ProcessWorker.is_alive": (
        "p = Forked(); p.start(); until(lambda: not p.is_alive(), 'end'); p.join()"
    ),
    "ProcessWorker.join": "p = Forked(); p.start(); p.join(0); p.join(LIMIT)",
    "ProcessWorker.on_stop": "p = Forked(); p.on_stop(nothing); p.start(); p.join()",
    "ProcessWorker.pid": "p = Forked(); p.start(); p.pid; p.join()",
    "ProcessWorker.run": "ProcessWorker(target=nothing).run()",
    "ProcessWorker.shutdown": (
        "p = ProcessWorker(start_method='fork', stop=('ASK', 0, 'TERM', 9, 'KILL'))\n"
        "p.run = p.wait; p.start(); p.shutdown(); p.join()"
    ),
    "ProcessWorker.shutdown_flag": "ProcessWorker().shutdown_flag.set()",
    "ProcessWorker.start": "p = Failed(); p.start(); p.join()",
    "ProcessWorker.step": "Forked().step()",
    "ProcessWorker.stopping": "ProcessWorker().stopping",
    "ProcessWorker.wait": "ProcessWorker().wait(0)",
    "Report": "str(killer.report())",
    "Report.to_dict": "killer.report().to_dict()",
    "SignalInfo": "str(SignalInfo(15, 1)); SignalInfo(15).signal",
    "SignalInfo.signal": "SignalInfo(15).signal",
    "TerminateProtected": "with TerminateProtected(): pass",
    "TerminateProtected.__aenter__": (
        "asyncio.run(protected(TerminateProtected('HUP')))"
    ),
    "TerminateProtected.__call__": "TerminateProtected('HUP')(nothing)(1)",
    "TerminateProtected.__enter__": (
        "with TerminateProtected() as p:\n with p, TerminateProtected('HUP'): pass"
    ),
    "TerminateProtected.name": "TerminateProtected(name='x').name",
    "TerminateProtected.pending": "with TerminateProtected('HUP') as p: p.pending",
    "TerminateProtected.reason": "with TerminateProtected('HUP') as p: p.reason",
    "TerminateProtected.renew": (
        "with TerminateProtected('HUP', timeout=9) as p: p.renew()"
    ),
    "TerminateProtected.signals": "TerminateProtected(('HUP', 'RTMIN+1')).signals",
    "TerminateProtected.timeout": "TerminateProtected(timeout=9).timeout",
    "Worker": "w = Worker(target=nothing); w.start(); w.join()",
    "Worker.run": "w = Stepping(); w.start(); w.join()",
    "Worker.shutdown": "w = Worker(); w.shutdown(); w.start(); w.join()",
    "Worker.shutdown_flag": "w = Worker(); w.shutdown_flag = threading.Event()",
    "Worker.start": "w = Failing(); w.start(); w.join()",
    "Worker.step": "w = Stepping(); w.start(); w.join()",
    "Worker.stopping": "Worker().stopping",
    "Worker.wait": "Worker().wait(0)",
    "WorkerGroup": "with WorkerGroup(Worker(target=nothing)) as g: pass",
    "WorkerGroup.__enter__": "with WorkerGroup(Worker(), Worker(target=nothing)): pass",
    "WorkerGroup.add": "g = WorkerGroup(); g.add(Worker())",
    "WorkerGroup.is_alive": "WorkerGroup().is_alive()",
    "WorkerGroup.join": "g = WorkerGroup(Worker(target=nothing)); g.start(); g.join(9)",
    "WorkerGroup.shutdown": "WorkerGroup(Worker()).shutdown()",
    "WorkerGroup.start": "g = WorkerGroup(Worker(target=nothing)); g.start(); g.join()",
    "WorkerGroup.stop": "WorkerGroup(Worker()).stop()",
    "current": "current()",
    "get_include": "get_include()",
    "ignore_interrupt": "caught(ignore_interrupt)",
    "lowlevel.add_wakeup_fd": (
        "lowlevel.add_wakeup_fd(fd); lowlevel.remove_wakeup_fd(fd)"
    ),
    "lowlevel.backends": "lowlevel.backends()",
    "lowlevel.counts": "lowlevel.counts(); lowlevel.counts('TERM')",
    "lowlevel.first": "own.take('USR1'); send(SIGUSR1); str(lowlevel.first('USR1'))",
    "lowlevel.last": "own.take('USR1'); send(SIGUSR1); str(lowlevel.last('USR1'))",
    "lowlevel.remove_wakeup_fd": (
        "lowlevel.add_wakeup_fd(fd); lowlevel.remove_wakeup_fd(fd)"
    ),
    "lowlevel.state": "lowlevel.state()",
}
NO_CALLABLE = {"__version__"}
# What `with`, `async with` and `@` call.
SPOKEN = {"__enter__", "__aenter__", "__call__"}


def public_names() -> set[str]:
    """Every public callable, attribute and property of the package."""
    names = set(gracefulexit.__all__) - NO_CALLABLE
    for name in gracefulexit.__all__:
        thing = getattr(gracefulexit, name)
        if inspect.isclass(thing):
            names |= {f"{name}.{member}" for member in members(thing)}
    names |= {"GracefulKiller.event"}
    return names | {f"lowlevel.{name}" for name in lowlevel.__all__}


def members(cls: type) -> set[str]:
    """Those of its own and those that it inherits from other classes of ours."""
    return {
        member
        for base in cls.__mro__
        if base.__module__.partition(".")[0] == "gracefulexit"
        for member, value in vars(base).items()
        if member not in getattr(base, "_fields", ())  # plain values
        if (member in SPOKEN or not member.startswith("_"))
        and (callable(value) or hasattr(type(value), "__get__"))
    }


def test_every_public_name_has_a_leak_test() -> None:
    """A new name needs a line in USES; a name that is gone leaves none."""
    assert set(USES) == public_names()


PROGRAM = """
import asyncio, gc, logging, os, select, signal, sys, threading, warnings, weakref
from signal import SIGUSR1
from gracefulexit import *
from gracefulexit import lowlevel
from probe import *

logging.disable(logging.CRITICAL)
threading.excepthook = lambda args: None
reader, fd = os.pipe()
os.set_blocking(fd, False)

def nothing(*args): pass
def stopping(killer):
    killer.stop()
    assert killer.event.wait(LIMIT)
def caught(func):
    try: func()
    except (SystemExit, RuntimeError): pass
def heard(killer, name):
    called = threading.Event()
    killer.on(name, lambda info: called.set())
    send(getattr(signal, "SIG" + name.partition("+")[0]) + int("+" in name))
    assert called.wait(LIMIT)
async def waits(killer):
    task = asyncio.create_task(killer.wait_async())
    await asyncio.sleep(0)
    killer.stop()
    assert await task
async def protected(section):
    async with section:
        await asyncio.sleep(0)
class Stepping(Worker):
    def step(self): self.shutdown()
class Failing(Worker):
    def run(self): raise OSError
class Forked(ProcessWorker):
    start_method = "fork"
class Failed(Forked):
    def run(self): os._exit(3)

SLEEPS = ["sleep", "1000"]

use = compile(sys.argv[1], "use", "exec")
names = dict(globals())
born = []

def once():
    '''One use with a killer of its own; everything is closed after it.'''
    own = GracefulKiller("QUIT", escalate=(), worker_error="ignore")
    killer = GracefulKiller(("TERM", "INT"), worker_error="ignore")
    local = {**names, "own": own, "killer": killer}
    exec(use, local)
    for worker in [v for v in local.values() if isinstance(v, threading.Thread)]:
        if worker.ident is not None:
            worker.join()
    born.append(weakref.ref(own))
    born.append(weakref.ref(killer))
    killer.close()
    own.close()

def objects():
    gc.collect()
    return len(gc.get_objects())

def constants():
    return [sys.getrefcount(x) for x in (True, False, None)]

def others():
    '''Memory maps; and where it is counted, as in a debug build, all references.'''
    with open("/proc/self/maps") as maps:
        count = len(maps.readlines())
    return [count, getattr(sys, "gettotalrefcount", int)()]

for _ in range(50):
    once()
def settled():
    gc.collect()
    return not any(t.name.startswith("gracefulexit") for t in threading.enumerate())
until(settled, "our threads have ended")
before = calm()
# Caches and the collector make single measurements noisy; a leak grows in each.
ROUNDS, BATCHES = 20, 3
def batch():
    count, refs = objects(), constants() + others()
    born.clear()
    for _ in range(ROUNDS):
        once()
    until(settled, "our threads have ended")
    equal({}, changes(before))
    until(
        lambda: not gc.collect() and not [b for b in born if b() is not None], "freed"
    )
    born.clear()
    now = constants() + others()
    return [objects() - count, *(b - a for a, b in zip(refs, now))]
batch()
grown = [batch() for _ in range(BATCHES)]
# None is dropped from reused frames for a while, ever more slowly: measured, by less
# than one each round after 200. A reference given back too often goes on for ever.
while len(grown) < 25 and all(g[3] <= 2 - ROUNDS for g in grown[-BATCHES:]):
    grown.append(batch())
WHAT = "objects", "True", "False", "None", "memory maps", "references"
for what, *drift in zip(WHAT, *grown[-BATCHES:]):
    constant = what in ("True", "False", "None")
    if constant and sys.version_info >= (3, 12):
        continue  # immortal
    least = ROUNDS - 2 if constant else ROUNDS // 2
    assert not all(d >= least for d in drift), f"more and more {what}: {drift}"
    assert not constant or not all(d <= -least for d in drift), (
        f"fewer and fewer references to {what}: {drift}"
    )
print("no leak")
"""


def starts_processes(name: str) -> bool:
    return name.startswith(("Popen", "ProcessWorker"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long if starts_processes(name) else ())
        for name in USES
    ],
)
def test_no_leak(start_child, name: str) -> None:
    """Repeated uses leave no thread, descriptor, handler, object or reference."""
    child = start_child(PROGRAM, USES[name], env={"PYTHONPATH": str(HARNESS)})
    done = child.finish()

    assert (done.status, done.out) == (0, "no leak\n"), done.err
