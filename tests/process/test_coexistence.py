"""Others that use signals keep working, before or after us."""

from __future__ import annotations

import signal
import sys

import pytest

TERM = signal.SIGTERM


def test_asyncio_run(passes) -> None:
    """asyncio.run() inside a killer leaves us armed, and SIGINT stops while it runs."""
    passes(
        """
        import asyncio
        with GracefulKiller() as killer:
            ours = {s: (action(s), signal.getsignal(s)) for s in (SIGINT, SIGTERM)}
            asyncio.run(asyncio.sleep(0))
            assert killer.armed
            for s in ours:
                equal(ours[s], (action(s), signal.getsignal(s)))
            async def main():
                send(SIGINT)
                return await killer.wait_async(LIMIT)
            equal(True, asyncio.run(main()))
            equal(SIGINT, killer.reason.signum)
        """
    )


def test_killer_inside_asyncio_run(passes) -> None:
    """A killer made inside asyncio.run() gives asyncio's handler back."""
    passes(
        """
        import asyncio
        before = state()["actions"]
        async def main():
            there = signal.getsignal(SIGINT), action(SIGINT)
            with GracefulKiller() as killer:
                send(SIGINT)
                equal(True, await killer.wait_async(LIMIT))
            equal(there, (signal.getsignal(SIGINT), action(SIGINT)))
        asyncio.run(main())
        equal(before, state()["actions"])
        equal(signal.default_int_handler, signal.getsignal(SIGINT))
        """
    )


def test_add_signal_handler(passes) -> None:
    """loop.add_signal_handler() of another signal works, with its wake-up slot; of ours
    it takes over, and rearm() takes back."""
    passes(
        """
        import asyncio
        killer = GracefulKiller()
        async def main():
            loop = asyncio.get_running_loop()
            heard = asyncio.Event()
            loop.add_signal_handler(SIGUSR1, heard.set)
            send(SIGUSR1)
            await asyncio.wait_for(heard.wait(), LIMIT)
            assert killer.armed
            loop.add_signal_handler(SIGTERM, lambda: None)
            equal(False, killer.armed)
            killer.rearm()
            equal(True, killer.armed)
            send(SIGTERM)
            equal(True, await killer.wait_async(LIMIT))
            loop.remove_signal_handler(SIGUSR1)
        asyncio.run(main())
        killer.close()
        """
    )


def test_library_that_saves_and_restores(passes) -> None:
    """A library that saves, sets and restores handlers gives us back, and the next
    signal is heard."""
    passes(
        """
        for restore in ("same", "siginterrupt"):
            with GracefulKiller() as killer:
                theirs = []
                saved = signal.signal(SIGTERM, lambda *_: theirs.append(1))
                equal(False, killer.armed)
                send(SIGTERM)
                equal([1], theirs)
                equal(False, killer.kill_now)
                signal.signal(SIGTERM, saved)
                if restore == "siginterrupt":
                    signal.siginterrupt(SIGTERM, False)
                send(SIGTERM)
                until(lambda: killer.kill_now, "heard")
                assert killer.armed
                equal(SIGTERM, killer.reason.signum)
                equal(1, killer.counts[SIGTERM])
        """
    )


def test_layer_2_wiped(passes) -> None:
    """signal.signal(sig, getsignal(sig)) wipes our C handler; the next signal is heard
    and puts it back, and each is counted once."""
    passes(
        """
        killer = GracefulKiller()
        ours = action(SIGTERM)
        killer.take("USR1")
        wiped = 0
        for signum in (SIGUSR1, SIGTERM):
            for n in range(1, 11):
                signal.signal(signum, signal.getsignal(signum))
                wiped += action(signum) != ours  # not if the dispatcher has seen it
                send(signum)
                until(lambda: killer.counts[signum] == n, "heard")
                until(lambda: action(signum) == ours, "armed again")
        assert wiped > 0
        killer.close()
        equal(SIG_DFL, signal.getsignal(SIGTERM))
        equal(0, action(SIGTERM)[0])
        """
    )


def test_armed_repairs(passes) -> None:
    """Where only our C handler was wiped, `armed` lays it again."""
    passes(
        """
        killer = GracefulKiller()
        ours = action(SIGTERM)
        signal.signal(SIGTERM, signal.getsignal(SIGTERM))
        assert killer.armed
        equal(ours, action(SIGTERM))
        killer.close()
        """
    )


@pytest.mark.parametrize("where", ["main", "thread"])
def test_rearm(passes, where: str) -> None:
    """signal.signal() by others makes `armed` False; rearm() takes the signal back, and
    close() then restores the other's handler."""
    passes(
        """
        def in_place(func):
            if sys.argv[1] == "main":
                return func()
            thread = threading.Thread(target=func)
            thread.start()
            thread.join()
        heard = []
        def other(*_): heard.append(1)
        killer = GracefulKiller()
        assert killer.armed
        signal.signal(SIGTERM, other)
        theirs = action(SIGTERM)
        equal(False, killer.armed)
        in_place(killer.rearm)
        until(lambda: killer.armed, "armed")
        send(SIGTERM)
        equal(True, killer.kill_now)
        equal([], heard)
        in_place(killer.rearm)
        killer.close()
        equal(other, signal.getsignal(SIGTERM))
        equal(theirs, action(SIGTERM))
        send(SIGTERM)
        equal([1], heard)
        """,
        where,
    )


@pytest.mark.parametrize("how", ["rearm", "install"])
def test_chain_from_a_thread_calls_once(passes, how: str) -> None:
    """chain=True calls the previous handler once for a signal that comes between the
    taking in another thread and main's part of it, and so for every other one."""
    passes(
        """
        import logging
        # The dispatcher looks for signals where it has something to say; two that are
        # taken by two threads at once may be one call of CPython's.
        logging.disable(logging.CRITICAL)
        heard = []
        def other(*_): heard.append(1)
        def take():
            global killer
            if killer:
                killer.rearm()
            else:
                killer = GracefulKiller("USR1", chain=True)
            send(SIGUSR1)
        killer = sys.argv[1] == "rearm" and GracefulKiller("USR1", chain=True)
        for n in range(1, 101):
            signal.signal(SIGUSR1, other)
            thread = threading.Thread(target=take)
            thread.start()
            thread.join()
            until(lambda: signal.getsignal(SIGUSR1) is not other, "main's part")
            send(SIGUSR1)
            until(lambda: len(heard) >= 2 * n, "both heard")
            equal(2 * n, len(heard))
            if sys.argv[1] == "install":
                killer = killer.close()
        """,
        how,
    )


def test_rearm_over_c(passes) -> None:
    """A C handler over ours makes `armed` False; rearm() takes the signal back, and
    close() restores the C handler."""
    passes(
        """
        import ctypes
        from probe import libc
        killer = GracefulKiller()
        set_action(SIGTERM, ctypes.cast(libc.getpid, ctypes.c_void_p).value, 0)
        theirs = action(SIGTERM)
        # `armed` may lay our handler again by itself, or say False: heard it is.
        if not killer.armed:
            killer.rearm()
        send(SIGTERM)
        equal(True, killer.kill_now)
        killer.close()
        equal(theirs, action(SIGTERM))
        """
    )


def test_stale_callable_of_ours(passes) -> None:
    """Our callable that others put back after close() acts as who was there before, and
    removes itself."""
    passes(
        """
        called = []
        def previous(*_): called.append(1)
        signal.signal(SIGUSR1, previous)
        killer = GracefulKiller("USR1")
        ours = signal.getsignal(SIGUSR1)
        killer.close()
        signal.signal(SIGUSR1, ours)
        send(SIGUSR1)
        equal([1], called)
        equal(previous, signal.getsignal(SIGUSR1))
        """
    )


def test_stale_callable_over_the_default(program) -> None:
    """Our callable that others put back after close() over a default: it ends the
    process, by the signal."""
    done = program(
        """
        killer = GracefulKiller()
        ours = signal.getsignal(SIGTERM)
        killer.close()
        signal.signal(SIGTERM, ours)
        send(SIGTERM)
        time.sleep(LIMIT)
        """
    ).finish()

    assert done.status == -TERM


def test_wakeup_fd_slot_is_untouched(passes) -> None:
    """signal.set_wakeup_fd()'s slot is the user's; it is fed as without us for signals
    that are not ours."""
    passes(
        """
        import socket
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        reader.settimeout(LIMIT)
        signal.set_wakeup_fd(writer.fileno())
        signal.signal(SIGUSR1, lambda *_: None)
        with GracefulKiller() as killer:
            killer.on("HUP", lambda info: None)
            killer.fileno()
            send(SIGUSR1)
            equal(bytes([SIGUSR1]), reader.recv(10))
            send(SIGTERM)
        equal(writer.fileno(), signal.set_wakeup_fd(-1))
        """
    )


def test_faulthandler(program) -> None:
    """faulthandler's own signals and its registered one work beside a killer."""
    done = program(
        """
        import faulthandler
        faulthandler.register(SIGUSR2)
        with GracefulKiller() as killer:
            send(SIGUSR2)
        send(SIGUSR2)
        print("alive", flush=True)
        faulthandler._sigsegv()
        """
    ).finish()

    assert done.out == "alive\n"
    assert done.err.count("Current thread 0x") == 3
    c_stacks = done.err.count("Current thread's C stack trace")  # of the fault alone
    assert c_stacks == (sys.version_info >= (3, 14))
    assert done.status == -signal.SIGSEGV


def test_interrupt_main(passes) -> None:
    """_thread.interrupt_main() and raise_signal() are heard as a Ctrl-C."""
    passes(
        """
        import _thread
        for act in (_thread.interrupt_main, lambda: signal.raise_signal(SIGINT)):
            with GracefulKiller() as killer:
                act()
                until(lambda: killer.kill_now, "heard")
                equal(SIGINT, killer.reason.signum)
        """
    )


def test_subprocess_run_and_system(passes) -> None:
    """subprocess.run() and os.system() work, and we are armed after them."""
    passes(
        """
        import subprocess
        with GracefulKiller() as killer:
            equal(3, subprocess.run(["/bin/sh", "-c", "exit 3"]).returncode)
            equal(5, os.waitstatus_to_exitcode(os.system("exit 5")))
            assert killer.armed
            send(SIGINT)
            assert killer.kill_now
        """
    )


def test_masks_changed_behind_our_back(passes) -> None:
    """multiprocessing's resource tracker, which changes masks, costs no signal."""
    passes(
        """
        from multiprocessing import resource_tracker
        with GracefulKiller() as killer:
            resource_tracker.ensure_running()
            send(SIGTERM)
            assert killer.kill_now
        """
    )


def test_worker_c_calls_see_no_eintr(passes) -> None:
    """System calls of workers are not interrupted by a stop signal."""
    passes(
        """
        import ctypes
        from probe import libc
        killer = GracefulKiller()
        results = []
        entered = threading.Event()
        reader, writer = os.pipe()
        def work():
            buffer = ctypes.create_string_buffer(1)
            entered.set()
            results.append(libc.read(reader, buffer, 1))
        worker = threading.Thread(target=work)
        worker.start()
        entered.wait()
        for _ in range(50):
            signal.pthread_kill(worker.ident, SIGTERM)
            time.sleep(0.001)
        os.write(writer, b"x")
        worker.join()
        equal([1], results)
        equal(True, killer.kill_now)
        killer.close()
        """
    )


def test_handler_that_is_set_during_a_look(passes) -> None:
    """Who looks whether a signal is still ours leaves alone the handler that main sets
    at any step of the look."""
    passes(
        """
        from gracefulexit import _core
        killer = GracefulKiller("TERM")
        def mine(*args):
            pass
        def look(last):
            global steps
            steps = 0
            def step(frame, event, arg):
                global steps
                frame.f_trace_opcodes = True
                if steps == last:
                    there.set()
                    assert go_on.wait(LIMIT)
                steps += 1
                return step
            sys.settrace(step)
            killer.armed
            sys.settrace(None)
            there.set()
        last = 0
        while True:
            there, go_on = threading.Event(), threading.Event()
            looker = threading.Thread(target=look, args=[last])
            looker.start()
            assert there.wait(LIMIT)
            signal.signal(SIGTERM, mine)
            go_on.set()
            looker.join()
            equal(False, _core.ours(SIGTERM))
            equal(mine, signal.getsignal(SIGTERM))
            killer.rearm()
            if steps <= last:
                break
            last += 1
        assert last > 10, last
        """
    )
