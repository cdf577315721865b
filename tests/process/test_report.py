"""The report at any time, and who is named when the grace is nearly over."""

from __future__ import annotations

import re
import signal

import pytest

LOG = """
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
        never = threading.Event()
        def stuck_here(): never.wait()
"""


def test_report_at_any_time(passes) -> None:
    """Before the stop, from hooks, a Python handler, other threads, when closed, and
    at interpreter exit; what it tells is JSON every time."""
    passes(
        """
        import atexit, json
        seen = {}
        def look(where):
            report = killer.report()
            plain = report.to_dict()
            equal(plain, json.loads(json.dumps(plain)))
            assert str(report)
            seen[where] = report.state
        atexit.register(look, "atexit")
        killer = GracefulKiller(grace=LIMIT)
        look("before")
        signal.signal(SIGUSR1, lambda *_: look("handler"))
        killer.on_stop(look, "on_stop")
        killer.on_exit(look, "on_exit")
        class Looking(Worker):
            def run(self):
                self.wait()
                look("worker")
        killer.start(Looking())
        with killer:
            send(SIGTERM)
            send(SIGUSR1)
            look("stopping")
        look("closed")
        atexit.register(
            equal,
            {"before": "running", "closed": "closed"}
            | dict.fromkeys(
                ("on_stop", "on_exit", "worker", "handler", "stopping"), "stopping"
            ),
            seen,
        )
        """
    )


@pytest.mark.race
@pytest.mark.slow
def test_report_in_a_storm(passes) -> None:
    """Reports from many threads while all of it changes, a hundred stops long."""
    passes(
        """
        import json
        over = threading.Event()
        current_killer = [GracefulKiller(grace=LIMIT)]
        reports = []
        errors = []
        def look():
            try:
                while not over.is_set():
                    report = current_killer[0].report()
                    json.dumps(report.to_dict())
                    str(report)
                    reports.append(report.state)
            except BaseException as error:
                errors.append(error)
                raise
        lookers = [threading.Thread(target=look) for _ in range(2)]
        for looker in lookers:
            looker.start()
        for n in times(100):
            killer = current_killer[0]
            killer.on_stop(time.sleep, 0.0001)
            killer.on_exit(time.sleep, 0.0001)
            killer.start(Worker(target=killer.wait), WorkerGroup(Worker()))
            with killer, TerminateProtected():
                send(SIGTERM)
            names = [phase.name for phase in killer.report().phases]
            equal(["hooks and workers", "on_exit hooks"], names)
            current_killer[0] = GracefulKiller(grace=LIMIT)
        until(lambda: {"running", "stopping", "closed"} <= set(reports), "all seen")
        over.set()
        for looker in lookers:
            looker.join()
        equal([], errors)
        current_killer[0].close()
        """
    )


def test_phases_of_an_exit(program) -> None:
    """exit() begins the last phase; it is the interpreter's, and not over yet."""
    done = program(
        LOG
        + """
        import atexit
        def look():
            report = killer.report()
            print([p.name for p in report.phases], report.phases[-1].length)
            starts = [p.start for p in report.phases]
            equal(sorted(starts), starts)
            for this, following in zip(report.phases, report.phases[1:]):
                assert abs(this.start + this.length - following.start) < 1e-6
            assert "exit" in str(report) and "so far" in str(report)
        atexit.register(look)
        killer = GracefulKiller()
        killer.on_exit(lambda: None)
        killer.start(Worker(target=killer.wait))
        send(SIGTERM)
        killer.exit()
        """
    ).finish()

    assert done.out == "['hooks and workers', 'on_exit hooks', 'exit'] None\n"
    assert done.status == -signal.SIGTERM
    last = done.err.splitlines()[-1]
    assert re.fullmatch(
        r"INFO stopped: SIGTERM from ourselves; hooks and workers \d+\.\d{3} s, "
        r"on_exit hooks \d+\.\d{3} s",
        last,
    )


def test_sections_are_waited_for(passes) -> None:
    """The stop waits for sections of other threads, daemons too, before the on_exit
    hooks close what they use, and the report tells for which and how long."""
    passes(
        """
        release, opened = threading.Event(), threading.Event()
        order = []
        def work():
            with TerminateProtected(name="ledger"):
                opened.set()
                release.wait()
                order.append("section")
            # What opens after that is not waited for: this goes on for ever.
            while True:
                with TerminateProtected():
                    time.sleep(0.001)
        threading.Thread(target=work, name="booking", daemon=True).start()
        assert opened.wait(LIMIT)
        killer = GracefulKiller()
        killer.on_exit(order.append, "on_exit")
        def let_go():
            until(lambda: len(killer.report().phases) == 2, "the phase of sections")
            report = killer.report()
            ledger, = [s for s in report.sections if s.waited is not None]
            equal(("ledger", "booking", True), (
                ledger.name, ledger.thread, ledger.open
            ))
            release.set()
        helper = threading.Thread(target=let_go)
        helper.start()
        with TerminateProtected(name="own"):  # not waited for, or we would for ever
            with killer:
                killer.stop()
        helper.join()
        equal(["section", "on_exit"], order)
        report = killer.report()
        equal(["hooks and workers", "sections", "on_exit hooks"], [
            p.name for p in report.phases
        ])
        ledger, = [s for s in report.sections if s.waited is not None]
        equal(("ledger", False), (ledger.name, ledger.open))
        assert 0 < ledger.waited <= ledger.since, ledger
        os._exit(print("reached the end", flush=True) or 0)
        """
    )


def test_section_that_an_ended_thread_has_left_open(passes) -> None:
    """Nobody would ever leave it, so the stop does not wait for it."""
    passes(
        """
        killer = GracefulKiller()  # its threads come first: idents are used again
        def work():
            TerminateProtected().__enter__()
        def run(target):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        run(work)
        with killer:
            run(killer.stop)  # in main it would take a thread that ends at any time
        equal(["hooks and workers"], [p.name for p in killer.report().phases])
        """
    )


def test_section_of_an_ended_thread_whose_ident_another_one_has(passes) -> None:
    """It is waited for no longer than that one runs."""
    passes(
        """
        import _thread
        from gracefulexit import _sections
        killer = GracefulKiller()
        idents = []
        def work():
            idents.append(threading.get_ident())
            TerminateProtected().__enter__()
        def other():
            idents.append(threading.get_ident())
            if idents[-1] == idents[0]:
                until(main_waits, "main waits for the section")
        def main_waits():
            frame = sys._current_frames()[threading.main_thread().ident]
            while frame and frame.f_code is not _sections.Drain.wait.__code__:
                frame = frame.f_back
            return frame
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        while len(idents) == 1 or idents[-1] != idents[0]:
            n = len(idents)
            _thread.start_new_thread(other, ())
            until(lambda: len(idents) > n, "another thread runs")
        with killer:
            killer.stop()
        equal(["hooks and workers", "sections"],
              [p.name for p in killer.report().phases])
        """
    )


@pytest.mark.slow
def test_sections_share_the_grace(program) -> None:
    """A section that stays open is named and left behind, and time is left for the
    on_exit hooks; so is one that is over its own timeout."""
    child = program(
        LOG
        + """
        def work():
            with TerminateProtected(name="ledger"):
                never.wait()
        def limited():
            with TerminateProtected(name="limited", timeout=0.1):
                never.wait()
        for target in (work, limited):
            threading.Thread(target=target, name="booking", daemon=True).start()
        killer = GracefulKiller(grace=20)  # with a last fifth that is long enough
        killer.on_exit(os.write, 1, b"on_exit\\n")
        print("ready", flush=True)
        killer.wait()
        killer.exit()
        """
    )
    child.wait_line("ready")
    child.signal(signal.SIGTERM)
    done = child.finish()

    assert done.out == "ready\non_exit\n"
    assert "section ledger in booking has not ended in time" in done.err
    assert "section limited in booking has not" not in done.err
    assert done.status == -signal.SIGTERM


@pytest.mark.slow
def test_every_straggler_is_named(program) -> None:
    """With stack, age and open section: workers in groups, hooks, threads that nobody
    has registered, daemons in sections; not those that hold nothing up."""
    child = program(
        LOG
        + """
        def in_section(name):
            with TerminateProtected(name=name):
                stuck_here()
        def hooked(): stuck_here()
        killer = GracefulKiller(grace=20)  # with a last fifth that is long enough
        writer = Worker(target=in_section, args=("ledger",), name="writer")
        killer.start(WorkerGroup(writer), Worker(target=killer.wait, name="good"))
        killer.on_stop(hooked)
        for name, daemon, target, args in (
            ("loner", False, stuck_here, ()),
            ("idle daemon", True, stuck_here, ()),
            ("busy daemon", True, in_section, ("journal",)),
        ):
            threading.Thread(target=target, name=name, daemon=daemon, args=args).start()
        print("ready", flush=True)
        killer.wait()
        killer.exit()
        """
    )
    child.wait_line("ready")
    child.signal(signal.SIGTERM)
    done = child.finish()

    assert done.status == -signal.SIGTERM
    [said] = re.findall(
        r"^WARNING \d\.\d s left.*\n((?:(?!INFO|WARN).*\n)*)", done.err, re.MULTILINE
    )
    heads = [line for line in said.splitlines() if not line.startswith("  ")]
    age = r"\d+\.\d s"
    expected = [
        rf"worker writer, asked {age} ago, in section ledger, open for {age}, at",
        rf"on_stop hook hooked, running for {age}, at",
        r"thread loner, not registered, at",
        rf"thread busy daemon, in section journal, open for {age}, at",
    ]
    assert len(heads) == len(expected), said
    for pattern, line in zip(expected, heads, strict=True):
        assert re.fullmatch(pattern, line), line
    assert said.count("in stuck_here") == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "what"),
    {
        "main": ("stuck_here()", "the main thread, at"),
        "main in a section": (
            "with TerminateProtected(name='x'): stuck_here()",
            "the main thread, in section x, open for",
        ),
        "after exit()": (
            """threading.Thread(target=stuck_here, name='loner').start()
killer.exit()""",
            "thread loner, not registered, at",
        ),
        "atexit hook": (
            """import atexit; atexit.register(stuck_here)\nkiller.exit()""",
            "the main thread, at",
        ),
        "on_exit hook": (
            "killer.on_exit(stuck_here)\nkiller.exit()",
            "on_exit hook stuck_here, running for",
        ),
        "on_exit hook after a stuck worker": (
            """killer.start(Worker(target=never.wait, name='slow'))
killer.on_exit(stuck_here)\nkiller.exit()""",
            "on_exit hook stuck_here, running for",
        ),
    }.values(),
)
def test_the_culprit_is_named(program, where: str, what: str) -> None:
    """Wherever the program hangs, the log names the place before the end."""
    child = program(
        LOG
        + """
        killer = GracefulKiller(grace=20)  # with a last fifth that is long enough
        print("ready", flush=True)
        killer.wait()
        exec(sys.argv[1])
        """,
        where,
    )
    child.wait_line("ready")
    child.signal(signal.SIGTERM)
    done = child.finish()

    assert done.status == -signal.SIGTERM
    assert what in done.err
    assert "in stuck_here" in done.err.partition(what)[2]


@pytest.mark.slow
def test_the_culprit_is_named_again_after_extend(program) -> None:
    """The last fifth of the longer grace is another one: who is still there is named
    as of then."""
    done = program(
        LOG
        + """
        looks = threading.Semaphore(0)
        class Looks(logging.Handler):
            def emit(self, record):
                if "still waiting for" in record.getMessage():
                    looks.release()
        logging.getLogger().addHandler(Looks())  # after the one that prints
        def on_another_thread():
            looks.acquire()
            killer.extend(10)
            looks.acquire()
            os._exit(0)
        threading.Thread(target=on_another_thread, daemon=True).start()
        killer = GracefulKiller((), grace=10)
        killer.stop()
        stuck_here()
        """
    ).finish()

    assert done.status == 0
    assert done.err.count("the main thread, at") == 2
