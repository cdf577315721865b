"""The machine, for who reads the figures."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from pathlib import Path

import gracefulexit


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.machine()


def virtual() -> bool:
    """Wake-ups of another processor cost several times as much there."""
    try:
        return " hypervisor" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def describe() -> dict[str, str]:
    cores = len(os.sched_getaffinity(0))
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "version": gracefulexit.__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}"
        + " free-threaded" * (not getattr(sys, "_is_gil_enabled", lambda: True)()),
        "system": f"{platform.system()} {platform.release()}",
        "processor": f"{processor()}, {cores} cores" + ", virtual" * virtual(),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }
