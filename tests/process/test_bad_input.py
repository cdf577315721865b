"""Misuse raises at the call, says what to do, and leaves nothing half installed."""

from __future__ import annotations

import json

import pytest

# name: (code, exception, what the message must say). Names of the prelude and of
# RUNNER are in scope.
NO_KILLER = {
    "unknown name": ("GracefulKiller('FOO')", ValueError, "give a name like 'TERM'"),
    "lower case": ("GracefulKiller('term')", ValueError, "give a name like 'TERM'"),
    "constant that is no signal": (
        "GracefulKiller('SIG_DFL')",
        ValueError,
        "give a name like",
    ),
    "no signal at all": ("GracefulKiller(None)", TypeError, "a name like 'TERM'"),
    "float": ("GracefulKiller(15.0)", TypeError, "a name like 'TERM'"),
    "bool": ("GracefulKiller(True)", TypeError, "a name like 'TERM'"),
    "zero": ("GracefulKiller(0)", ValueError, "valid_signals"),
    "negative": ("GracefulKiller(-15)", ValueError, "valid_signals"),
    "too large": ("GracefulKiller(4096)", ValueError, "valid_signals"),
    "huge": ("GracefulKiller(2**40)", ValueError, "valid_signals"),
    "larger than long": ("GracefulKiller(2**80)", ValueError, "valid_signals"),
    "SIGKILL": ("GracefulKiller(('TERM', 'KILL'))", ValueError, "use SIGTERM"),
    "SIGSTOP": ("GracefulKiller('STOP')", ValueError, "use SIGTERM"),
    "32": ("GracefulKiller(32)", ValueError, "SIGRTMIN"),
    "33": ("GracefulKiller(33)", ValueError, "SIGRTMIN"),
    "real-time past the last": ("GracefulKiller('RTMIN+99')", ValueError, ""),
    "SIGSEGV": ("GracefulKiller('SEGV')", ValueError, "faulthandler"),
    "SIGBUS": ("GracefulKiller('BUS')", ValueError, "faulthandler"),
    "SIGFPE": ("GracefulKiller('FPE')", ValueError, "faulthandler"),
    "SIGILL": ("GracefulKiller('ILL')", ValueError, "faulthandler"),
    "SIGTSTP": ("GracefulKiller('TSTP')", ValueError, "killer.on('TSTP'"),
    "SIGCHLD": ("GracefulKiller('CHLD')", ValueError, "killer.on('CHLD'"),
    "SIGWINCH": ("GracefulKiller('WINCH')", ValueError, "killer.on('WINCH'"),
    "negative grace": ("GracefulKiller(grace=-1)", ValueError, "0 or more"),
    "NaN grace": ("GracefulKiller(grace=nan)", ValueError, "0 or more"),
    "bool as grace": ("GracefulKiller(grace=True)", TypeError, "pass one such as"),
    "bool as hook_timeout": (
        "GracefulKiller(hook_timeout=True)",
        TypeError,
        "pass one such as",
    ),
    "exit_status 3.0": ("GracefulKiller(exit_status=3.0)", ValueError, "0 to 255"),
    "NaN GRACEFULEXIT_GRACE": (
        "with_environment('nan')",
        ValueError,
        "GRACEFULEXIT_GRACE='nan'",
    ),
    "text as grace": ("GracefulKiller(grace='soon')", TypeError, "seconds"),
    "negative hook_timeout": (
        "GracefulKiller(hook_timeout=-1)",
        ValueError,
        "more than 0",
    ),
    "zero hook_timeout": ("GracefulKiller(hook_timeout=0)", ValueError, "more than 0"),
    "NaN hook_timeout": ("GracefulKiller(hook_timeout=nan)", ValueError, "more than"),
    "exit_status 256": ("GracefulKiller(exit_status=256)", ValueError, "0 to 255"),
    "exit_status -1": ("GracefulKiller(exit_status=-1)", ValueError, "0 to 255"),
    "exit_status True": ("GracefulKiller(exit_status=True)", ValueError, "0 to 255"),
    "exit_status name": ("GracefulKiller(exit_status='die')", ValueError, "'code'"),
    "exit_status None": ("GracefulKiller(exit_status=None)", ValueError, "'code'"),
    "unknown backend": ("GracefulKiller(backend='epoll')", ValueError, "'pipe'"),
    "backend None": ("GracefulKiller(backend=None)", ValueError, "'pipe'"),
    "unknown on_fork": ("GracefulKiller(on_fork='no')", ValueError, "'rearm'"),
    "unknown worker_error": (
        "GracefulKiller(worker_error='raise')",
        ValueError,
        "'ignore'",
    ),
    "escalate not in signals": (
        "GracefulKiller('TERM', escalate='HUP')",
        ValueError,
        "signals",
    ),
    "escalate unknown": ("GracefulKiller(escalate='FOO')", ValueError, "give a name"),
    "escalate None": ("GracefulKiller(escalate=None)", TypeError, "a name like"),
    "raises an instance": (
        "GracefulKiller(raises=ValueError())",
        TypeError,
        "an exception class",
    ),
    "raises no exception": ("GracefulKiller(raises=int)", TypeError, "exception class"),
    "raises with arguments": (
        "GracefulKiller(raises=NeedsTwo)",
        TypeError,
        "cannot be called",
    ),
    "GRACEFULEXIT_GRACE": (
        "with_environment('soon')",
        ValueError,
        "GRACEFULEXIT_GRACE='soon'",
    ),
    "negative GRACEFULEXIT_GRACE": (
        "with_environment('-3')",
        ValueError,
        "GRACEFULEXIT_GRACE='-3'",
    ),
    "kill_now of the class": (
        "GracefulKiller.kill_now",
        AttributeError,
        "killer = GracefulKiller()",
    ),
    "more than 32": ("make_many()", RuntimeError, "close() those"),
    "forgotten ()": ("TerminateProtected(function)", TypeError, "@TerminateProtected("),
    "generator function": (
        "TerminateProtected()(generator)",
        TypeError,
        "with TerminateProtected():",
    ),
    "async generator function": (
        "TerminateProtected()(async_generator)",
        TypeError,
        "with TerminateProtected():",
    ),
    "decorating no function": ("TerminateProtected()(3)", TypeError, "function"),
    "SIGQUIT in a section": ("TerminateProtected('QUIT')", ValueError, "leave it out"),
    "SIGKILL in a section": ("TerminateProtected('KILL')", ValueError, "use SIGTERM"),
    "SIGCHLD in a section": ("TerminateProtected('CHLD')", ValueError, "SIGCHLD"),
    "section timeout 0": ("TerminateProtected(timeout=0)", ValueError, "more than 0"),
    "section timeout -1": ("TerminateProtected(timeout=-1)", ValueError, "more than 0"),
    "section timeout NaN": ("TerminateProtected(timeout=nan)", ValueError, "more than"),
    "exit without enter": (
        "TerminateProtected().__exit__(None, None, None)",
        RuntimeError,
        "with TerminateProtected():",
    ),
    "exit twice": ("exit_twice()", RuntimeError, "with TerminateProtected():"),
    "renew outside": ("TerminateProtected().renew()", RuntimeError, "inside"),
    "Worker interval": ("start_with_interval(-1)", ValueError, "0 or more"),
    "Worker interval NaN": ("start_with_interval(nan)", ValueError, "0 or more"),
    "Worker started twice": ("start_twice()", RuntimeError, "once"),
    "Worker wait NaN": ("Worker().wait(nan)", ValueError, "seconds"),
    "group of a group of itself": ("group_in_itself()", ValueError, "itself"),
    "group of no thread": ("WorkerGroup(3)", TypeError, "threading.Thread"),
    "group of a plain thread": (
        "WorkerGroup(threading.Thread())",
        TypeError,
        "stop=",
    ),
    "group member timeout": (
        "WorkerGroup().add(Worker(), timeout=-1)",
        ValueError,
        "0 or more",
    ),
    "group join NaN": ("WorkerGroup().join(nan)", ValueError, "seconds"),
    "wakeup fd not open": ("lowlevel.add_wakeup_fd(999)", OSError, ""),
    "wakeup fd negative": ("lowlevel.add_wakeup_fd(-1)", OSError, ""),
    "wakeup fd no number": ("lowlevel.add_wakeup_fd('x')", TypeError, "fileno"),
    "wakeup fd that blocks": ("blocking_fd()", ValueError, "set_blocking"),
    "wakeup fd twice": ("fd_twice()", ValueError, "remove_wakeup_fd"),
    "wakeup fd removed twice": ("fd_removed_twice()", ValueError, "add_wakeup_fd"),
    "lowlevel counts of nothing": ("lowlevel.counts('FOO')", ValueError, "give a name"),
}
# With a killer k alive.
WITH_KILLER = {
    "other backend": (
        "GracefulKiller(backend=other_backend)",
        ValueError,
        "backend='auto'",
    ),
    "on() a stop signal": ("k.on('TERM', one_arg)", ValueError, "on_stop"),
    "on() SIGKILL": ("k.on('KILL', one_arg)", ValueError, "use SIGTERM"),
    "on() SIGSEGV": ("k.on('SEGV', one_arg)", ValueError, "faulthandler"),
    "on() 32": ("k.on(32, one_arg)", ValueError, "SIGRTMIN"),
    "on() not callable": ("k.on('HUP', 3)", TypeError, "callable"),
    "on() without arguments": ("k.on('HUP', function)", TypeError, "1 argument"),
    "on() with two": ("k.on('HUP', two_args)", TypeError, "1 argument"),
    "on() coroutine": ("k.on('HUP', coroutine)", TypeError, "coroutine function"),
    "on() as a decorator": ("k.on('HUP')(function)", TypeError, "1 argument"),
    "on() unknown, decorator": ("k.on('FOO')(one_arg)", ValueError, "give a name"),
    "take() SIGKILL": ("k.take('KILL')", ValueError, "use SIGTERM"),
    "take() unknown": ("k.take('FOO')", ValueError, "give a name"),
    "on_stop not callable": ("k.on_stop(None)", TypeError, "callable"),
    "on_stop arity": ("k.on_stop(one_arg)", TypeError, "cannot be called"),
    "on_stop keyword": ("k.on_stop(function, x=1)", TypeError, "cannot be called"),
    "on_stop coroutine": ("k.on_stop(coroutine)", TypeError, "coroutine function"),
    "on_stop partial of a coroutine function": (
        "k.on_stop(functools.partial(coroutine))",
        TypeError,
        "coroutine function",
    ),
    "on_stop async __call__": ("k.on_stop(Async())", TypeError, "coroutine function"),
    "on_stop generator": ("k.on_stop(generator)", TypeError, "generator function"),
    "on_exit async __call__": ("k.on_exit(Async())", TypeError, "coroutine function"),
    "on_exit async generator": (
        "k.on_exit(async_generator)",
        TypeError,
        "async generator function",
    ),
    "add() stop coroutine": (
        "k.add(threading.Thread(), stop=coroutine)",
        TypeError,
        "coroutine function",
    ),
    "on_exit not callable": ("k.on_exit('x')", TypeError, "callable"),
    "on_exit arity": ("k.on_exit(function, 1)", TypeError, "cannot be called"),
    "on_exit coroutine": ("k.on_exit(coroutine)", TypeError, "coroutine function"),
    "add() a plain thread": ("k.add(threading.Thread())", TypeError, "stop="),
    "add() no thread": ("k.add(3)", TypeError, "threading.Thread"),
    "add() a class": ("k.add(Worker)", TypeError, "a threading.Thread"),
    "add() stop not callable": (
        "k.add(threading.Thread(), stop=True)",
        TypeError,
        "callable",
    ),
    "add() stop arity": (
        "k.add(threading.Thread(), stop=one_arg)",
        TypeError,
        "cannot be called",
    ),
    "add() timeout": ("k.add(Worker(), timeout=-1)", ValueError, "0 or more"),
    "add() timeout NaN": ("k.add(Worker(), timeout=nan)", ValueError, "0 or more"),
    "start() a plain thread": ("k.start(threading.Thread())", TypeError, "stop="),
    "wait NaN": ("k.wait(nan)", ValueError, "seconds"),
    "wait text": ("k.wait('x')", TypeError, ""),
    "wait_async NaN": ("asyncio.run(k.wait_async(nan))", ValueError, "seconds"),
    "join NaN": ("k.join(nan)", ValueError, "seconds"),
    "extend while running": ("k.extend(5)", RuntimeError, "grace="),
    "extend negative": ("k.extend(-5)", ValueError, "0 or more"),
    "extend bool": ("k.extend(True)", TypeError, "pass one such as"),
    "extend negative while stopping": (
        "stopped().extend(-0.001)",
        ValueError,
        "0 or more",
    ),
    "extend NaN while stopping": ("stopped().extend(nan)", ValueError, "0 or more"),
    "extend past all floats": ("stopped().extend(10**400)", ValueError, "finite"),
    "add() timeout bool": ("k.add(Worker(), timeout=True)", TypeError, "pass one"),
    "extend NaN": ("k.extend(nan)", ValueError, "0 or more"),
    "extend infinite": ("stopped().extend(inf)", ValueError, "finite"),
    "extend None": ("k.extend(None)", TypeError, "seconds"),
    "kill_now assigned": ("setattr(k, 'kill_now', False)", AttributeError, ""),
}
# c is a closed killer.
AFTER_CLOSE = {
    name: (code, RuntimeError, "make a new GracefulKiller()")
    for name, code in {
        "wait": "c.wait(1)",
        "wait_async": "asyncio.run(c.wait_async(1))",
        "stop": "c.stop()",
        "checkpoint": "c.checkpoint()",
        "extend": "c.extend(1)",
        "on_stop": "c.on_stop(function)",
        "on_exit": "c.on_exit(function)",
        "on": "c.on('HUP', one_arg)",
        "take": "c.take('HUP')",
        "fileno": "c.fileno()",
        "add": "c.add(Worker())",
        "start": "c.start(Worker())",
        "rearm": "c.rearm()",
        "with": "c.__enter__()",
    }.items()
}

RUNNER = """
    import asyncio, functools, json
    from gracefulexit import lowlevel

    nan, inf = float("nan"), float("inf")
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    other_backend = "pipe" if lowlevel.backends()[0] == "futex" else "futex"

    def function(): pass
    def one_arg(a): pass
    def two_args(a, b): pass
    def generator(): yield
    async def coroutine(*args): pass
    async def async_generator(): yield
    class Async:
        async def __call__(self): pass

    class NeedsTwo(Exception):
        def __init__(self, a, b): pass

    def with_environment(text):
        os.environ["GRACEFULEXIT_GRACE"] = text
        try:
            GracefulKiller()
        finally:
            del os.environ["GRACEFULEXIT_GRACE"]

    def make_many():
        killers = []
        try:
            for _ in range(33):
                killers.append(GracefulKiller())
        finally:
            equal(32, len(killers))
            for killer in killers:
                killer.close()

    def exit_twice():
        section = TerminateProtected()
        with section:
            pass
        section.__exit__(None, None, None)

    def start_with_interval(seconds):
        class Stepper(Worker):
            interval = seconds
            def step(self): self.shutdown()
        Stepper().start()

    def start_twice():
        worker = Worker()
        worker.start()
        worker.join()
        worker.start()

    def group_in_itself():
        group = WorkerGroup()
        group.add(group)

    def blocking_fd():
        os.set_blocking(writer, True)
        try:
            lowlevel.add_wakeup_fd(writer)
        finally:
            os.set_blocking(writer, False)

    def fd_twice():
        lowlevel.add_wakeup_fd(writer)
        try:
            lowlevel.add_wakeup_fd(writer)
        finally:
            lowlevel.remove_wakeup_fd(writer)

    def fd_removed_twice():
        lowlevel.add_wakeup_fd(writer)
        lowlevel.remove_wakeup_fd(writer)
        lowlevel.remove_wakeup_fd(writer)

    def stopped():
        k.stop()
        return k

    # What a first use makes once for the life of the process is no leak.
    GracefulKiller().close()
    asyncio.run(asyncio.sleep(0))
    situation = sys.argv[1]
    if situation == "after close":
        c = GracefulKiller()
        c.close()
    calm()  # its threads have been joined, but the kernel may list them still
    if situation == "with killer":
        k = GracefulKiller()
    results = {}
    for name, code in json.loads(sys.argv[2]).items():
        before = state()
        outcome = ["nothing raised", ""]
        try:
            eval(code)
        except BaseException as error:
            outcome = [type(error).__mro__[0].__name__, str(error)]
            bases = [t.__name__ for t in type(error).__mro__]
        else:
            bases = []
        difference = changes(before, limit=1.0)
        results[name] = [bases, outcome, repr(difference) if difference else ""]
        if situation == "with killer" and k.kill_now:
            k.close()
            calm()
            k = GracefulKiller()
    print(json.dumps(results), flush=True)
    if situation == "with killer":
        k.close()
"""
SITUATIONS = {
    "no killer": NO_KILLER,
    "with killer": WITH_KILLER,
    "after close": AFTER_CLOSE,
}
results_of: dict[str, dict] = {}


@pytest.fixture
def results(program, situation: str) -> dict[str, tuple[list[str], list[str], str]]:
    # One child does all of a situation; whichever test comes first starts it.
    if situation not in results_of:
        codes = {name: case[0] for name, case in SITUATIONS[situation].items()}
        done = program(RUNNER, situation, json.dumps(codes)).finish()
        assert done.status == 0, done
        results_of[situation] = json.loads(done.out)
    return results_of[situation]


@pytest.mark.parametrize(
    ("situation", "name"),
    [(s, name) for s, cases in SITUATIONS.items() for name in cases],
)
def test_misuse(results, situation: str, name: str) -> None:
    """Misuse raises a clear exception that names the next step, and changes nothing."""
    _, exception, text = SITUATIONS[situation][name]
    bases, (kind, message), changed = results[name]

    assert exception.__name__ in bases, f"{kind}: {message}"
    assert text in message
    assert message != ""
    assert changed == ""


@pytest.mark.parametrize("kind", ["legacy", "isolated"])
def test_subinterpreters_are_refused(passes, kind: str) -> None:
    """Importing in a sub-interpreter is an ImportError that says where to import."""
    done = passes(
        """
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        kind = sys.argv[1]
        if sys.version_info >= (3, 13):
            made = interpreters.create(kind)
        else:
            made = interpreters.create(isolated=kind == "isolated")
        interpreters.run_string(made, '''if True:
            import os
            try:
                import gracefulexit
                text = "imported"
            except ImportError as error:
                text = str(error)
            os.write(1, (text + chr(10)).encode())
        ''')
        """,
        kind,
    )

    assert "main interpreter" in done.out or "subinterpreters" in done.out
