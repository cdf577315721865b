"""Misuse of TerminateProtected raises at the call, says what to do, and leaves the
count of open sections right."""

from __future__ import annotations

import json

import pytest
from sections import checked


@pytest.fixture
def program(program):
    return checked(program)


# name: (code, exception, what the message must say).
CASES = {
    # What cannot be held.
    "SIGSTOP": ("TerminateProtected('STOP')", ValueError, "use SIGTERM"),
    "SIGTSTP": ("TerminateProtected('TSTP')", ValueError, "SIGTSTP"),
    "SIGWINCH": ("TerminateProtected('WINCH')", ValueError, "SIGWINCH"),
    "SIGSEGV": ("TerminateProtected('SEGV')", ValueError, "faulthandler"),
    "QUIT among others": (
        "TerminateProtected(('TERM', 'QUIT'))",
        ValueError,
        "leave it out",
    ),
    "unknown": ("TerminateProtected('FOO')", ValueError, "give a name like 'TERM'"),
    "zero": ("TerminateProtected(0)", ValueError, "valid_signals"),
    "number too large": ("TerminateProtected(4096)", ValueError, "valid_signals"),
    "None": ("TerminateProtected(None)", TypeError, "a name like 'TERM'"),
    "bool": ("TerminateProtected(True)", TypeError, "a name like 'TERM'"),
    "32": ("TerminateProtected(32)", ValueError, "SIGRTMIN"),
    # Times.
    "timeout text": ("TerminateProtected(timeout='soon')", TypeError, "seconds"),
    "timeout positional": ("TerminateProtected('TERM', 3)", TypeError, "positional"),
    "timeout 0.0": ("TerminateProtected(timeout=0.0)", ValueError, "more than 0"),
    "timeout minus infinity": (
        "TerminateProtected(timeout=-inf)",
        ValueError,
        "more than 0",
    ),
    # The order of things.
    "leave before enter": (
        "leave(section)",
        RuntimeError,
        "with TerminateProtected():",
    ),
    "leave twice": ("leave_twice()", RuntimeError, "with TerminateProtected():"),
    "leave twice, inside another": (
        "leave_twice_inside()",
        RuntimeError,
        "with TerminateProtected():",
    ),
    "leave another object": (
        "leave_another()",
        RuntimeError,
        "with TerminateProtected():",
    ),
    "async leave before enter": (
        "asyncio.run(section.__aexit__(None, None, None))",
        RuntimeError,
        "with TerminateProtected():",
    ),
    "renew after the end": ("renew_after()", RuntimeError, "inside"),
    "renew another object": ("renew_another()", RuntimeError, "inside"),
    # The decorator.
    "forgotten ()": ("TerminateProtected(int)", TypeError, "@TerminateProtected("),
    "forgotten (), method": ("make_class()", TypeError, "@TerminateProtected("),
    "generator": ("TerminateProtected()(generator)", TypeError, "generator"),
    "decorating nothing": ("TerminateProtected()(None)", TypeError, "function"),
    "decorating text": ("TerminateProtected()('TERM')", TypeError, "function"),
    # What the block does itself.
    "exception of the block": ("raise_inside()", KeyError, "own"),
    "exception, three levels": ("raise_three_deep()", KeyError, "own"),
    "exception of a decorated": ("decorated()", KeyError, "own"),
    "exception of a coroutine": ("asyncio.run(coroutine())", KeyError, "own"),
    "exception of a decorated coroutine": (
        "asyncio.run(decorated_coroutine())",
        KeyError,
        "own",
    ),
    "arguments of a decorated": ("decorated(1, 2)", TypeError, "argument"),
}

RUNNER = """
    import asyncio, json
    from gracefulexit import _core
    nan, inf = float("nan"), float("inf")
    section = TerminateProtected()
    def leave(section):
        section.__exit__(None, None, None)
    def leave_twice():
        with section:
            leave(section)
    def leave_twice_inside():
        with TerminateProtected():
            section.__enter__()
            leave(section)
            try:
                leave(section)
            finally:
                equal(1, _core.sections())
    def leave_another():
        with TerminateProtected():
            try:
                leave(section)
            finally:
                equal(1, _core.sections())
    def renew_after():
        with section:
            section.renew()
        section.renew()
    def renew_another():
        with TerminateProtected():
            section.renew()
    def make_class():
        class Store:
            @TerminateProtected
            def save(self): pass
    def generator():
        yield
    def raise_inside():
        with section:
            raise KeyError("own")
    def raise_three_deep():
        with section, section, TerminateProtected("HUP"):
            raise KeyError("own")
    @TerminateProtected()
    def decorated():
        raise KeyError("own")
    async def coroutine():
        async with section:
            await asyncio.sleep(0)
            raise KeyError("own")
    @TerminateProtected()
    async def decorated_coroutine():
        raise KeyError("own")
    asyncio.run(asyncio.sleep(0))
    outcomes = {}
    for name, code in json.loads(sys.argv[1]).items():
        before = state()
        try:
            eval(code)
        except Exception as error:
            outcome = type(error).__name__, str(error)
        else:
            outcome = "nothing", ""
        equal((name, 0), (name, _core.sections()))
        nothing_of_ours()
        equal((name, {}), (name, changes(before, limit=1.0)))
        with section:
            equal((name, 1), (name, _core.sections()))
        outcomes[name] = outcome
    print(json.dumps(outcomes), flush=True)
"""


def test_misuse(passes) -> None:
    """Each raises a clear exception that names the next step; afterwards no section is
    counted and nothing is ours, and the next section works."""
    done = passes(RUNNER, json.dumps({name: case[0] for name, case in CASES.items()}))
    outcomes = json.loads(done.out.splitlines()[0])

    assert outcomes.keys() == CASES.keys()
    for name, (_, exception, text) in CASES.items():
        kind, message = outcomes[name]
        assert (name, kind) == (name, exception.__name__), message
        assert text in message, name


def test_closed_by_no_opener(passes) -> None:
    """__exit__ without __enter__ in one thread does not close another thread's section
    of another object, and the count stays right."""
    passes(
        """
        from gracefulexit import _core
        opened, leave = threading.Event(), threading.Event()
        def work():
            with TerminateProtected():
                opened.set()
                leave.wait()
        thread = threading.Thread(target=work)
        thread.start()
        opened.wait()
        try:
            TerminateProtected().__exit__(None, None, None)
        except RuntimeError as error:
            assert "with TerminateProtected():" in str(error)
        else:
            raise AssertionError("nothing raised")
        equal(1, _core.sections())
        leave.set()
        thread.join()
        equal(0, _core.sections())
        """
    )


def test_abandoned_section(passes) -> None:
    """A thread that ends inside a section leaves it open until its object is closed:
    nothing is closed behind the program's back."""
    passes(
        """
        from gracefulexit import _core
        section = TerminateProtected()
        thread = threading.Thread(target=section.__enter__)
        thread.start()
        thread.join()
        equal(1, _core.sections())
        try:
            section.__exit__(None, None, None)
        except RuntimeError:
            pass
        equal(0, _core.sections())
        """
    )


def test_no_new_section_in_a_shut_interpreter(program) -> None:
    """Sections in atexit functions and in daemon threads at the end work or raise;
    they neither hang nor crash."""
    done = program(
        """
        import atexit
        do_not_look()
        def use():
            with TerminateProtected():
                print("used")
        atexit.register(use)
        def work():
            while True:
                with TerminateProtected():
                    pass
        threading.Thread(target=work, daemon=True).start()
        use()
        """,
    ).finish()

    assert (done.status, done.out) == (0, "used\nused\n"), done.err
