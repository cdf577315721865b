"""Public uses as users write them. Only type checkers run this file."""

from __future__ import annotations

import multiprocessing
import signal
import socket
import subprocess
import threading

from gracefulexit import (
    GracefulExit,
    GracefulKiller,
    Popen,
    ProcessWorker,
    Report,
    SignalInfo,
    TerminateProtected,
    Worker,
    WorkerGroup,
    current,
    get_include,
    ignore_interrupt,
    lowlevel,
)


class Server(Worker):
    interval = 0.5

    def step(self) -> None:
        if self.stopping or self.wait(1.5):
            self.shutdown()


class Crawler(ProcessWorker):
    interval = 0.5
    start_method = "spawn"
    stop = ("ASK", 10, "TERM", 5, "KILL")

    def run(self) -> None:
        self.on_stop(print, "stopping", end="")
        while not self.stopping and not self.wait(1.5):
            self.step()


class Stop(Exception):
    pass


def reload(info: SignalInfo) -> None:
    name: str | None = info.signal.name if info.signal else None
    print(name, info.si_pid, info.when, info.sender)


def main() -> None:
    killer = GracefulKiller(
        ["TERM", signal.SIGINT, 1],
        grace=25,
        exit_status="code",
        escalate=(),
        raises=Stop,
        chain=True,
        backend="pipe",
        on_fork="reset",
        hook_timeout=5.0,
        worker_error="ignore",
    )
    while not killer.kill_now:
        if killer.wait(60):
            break
    event: threading.Event = killer.event
    event.wait()
    reason: SignalInfo | None = killer.reason
    left: float | None = killer.remaining()
    address: int = killer.flag_address
    print(address, reason, left, killer.counts[signal.SIGTERM], killer.take("USR1"))
    killer.on("HUP", reload)
    killer.on_stop(print, "stopping", end="")
    killer.start(Server(name="server"))
    killer.add(threading.Thread(), stop=event.set, timeout=3)
    stragglers = killer.join(2.5)
    print([thread.name for thread in stragglers])
    killer.extend(10)
    report: Report = killer.report()
    print(report.to_dict()["reason"], killer.fileno(), killer.armed)
    killer.rearm()
    killer.stop("enough")
    killer.checkpoint()
    killer.close()
    killer.exit()


def blocks() -> None:
    with GracefulKiller("TERM") as killer, WorkerGroup(Server(), ordered=True) as group:
        group.join(timeout=1)
        killer.on_exit(group.stop)
    alive: GracefulKiller | None = current()
    include: str = get_include()
    print(alive, include)


@TerminateProtected(timeout=3, name="both files")
def write(path: str) -> int:
    with TerminateProtected("TERM") as section:
        section.renew()
        print(path, section.pending, section.reason)
    return 1


@TerminateProtected()
async def write_async() -> str:
    async with TerminateProtected(("TERM", "INT")):
        return "written"


async def service(killer: GracefulKiller) -> bool:
    number: int = write("file")
    text: str = await write_async()
    print(number, text)
    return await killer.wait_async(timeout=1)


def low(sock: socket.socket) -> None:
    lowlevel.add_wakeup_fd(sock)
    lowlevel.remove_wakeup_fd(sock.fileno())
    name: str = lowlevel.state()
    infos: list[SignalInfo | None] = [lowlevel.first("TERM"), lowlevel.last(2)]
    print(infos)
    print(name, lowlevel.counts("TERM", 2)["SIGTERM"], lowlevel.backends())


def ending() -> None:
    try:
        main()
    except GracefulExit as error:
        code: int = error.code
        print(code, error.reason)
        raise


def processes(killer: GracefulKiller) -> None:
    crawler = Crawler(name="crawler", stop=("ASK", 1, "KILL"), start_method="fork")
    hook = crawler.on_stop(len, ())
    crawler.start()
    crawler.shutdown()
    crawler.shutdown_flag.set()
    flag: threading.Event = crawler.shutdown_flag
    error: BaseException | None = crawler.error
    pid: int | None = crawler.pid
    print(flag.wait(1), error, pid, crawler.exitcode, hook(()))
    killer.start(ProcessWorker(target=print, args=(1,), kwargs={"end": ""}))
    WorkerGroup(crawler, Server()).start()
    multiprocessing.Pool(2, initializer=ignore_interrupt).close()


def programs(killer: GracefulKiller) -> None:
    with Popen(["ls"], stdout=subprocess.PIPE, text=True, cwd="/") as listing:
        out: str = listing.communicate()[0]
    schedule = ("EOF", 2, signal.SIGTERM, 0.5, "KILL")
    plain = Popen("cat", stdin=subprocess.PIPE, stop=schedule, shell=True)
    data: bytes = plain.communicate(b"x", timeout=3)[0]
    known: Popen[str] = Popen(("cat",), encoding="utf-8", stop=[30, "KILL"])
    killer.add(known, timeout=3)
    known.shutdown()
    known.join(1.5)
    code: int = plain.wait()
    alive: bool = known.is_alive()
    print(out, data, code, alive, known.name)
