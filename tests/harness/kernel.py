"""A Jupyter kernel, the real one, for children."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Any

LIMIT = 100.0  # seconds, as probe's


class Kernel:
    """Runs cells. It ends with this process, whatever ends that."""

    def __init__(self) -> None:
        # Nothing in or from the home of who runs the tests.
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
            os.environ[name] = os.path.join(os.getcwd(), name.lower())
        os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
        from jupyter_client.manager import KernelManager

        # Sockets in the working directory, so that no port is anyone else's.
        self.manager = KernelManager(transport="ipc", ip="kernel")
        command = [sys.executable, "-m", "ipykernel_launcher"]
        self.manager.kernel_cmd = [*command, "-f", "{connection_file}"]

    def __enter__(self) -> Kernel:
        self.manager.start_kernel()
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=LIMIT)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=error is not None)

    @property
    def pid(self) -> int:
        return int(self.manager.provisioner.pid)

    def run(self, code: str, *, at: dict[str, Any] | None = None) -> tuple[str, str]:
        """What the cell printed, and the name of the exception that ended it. `at`:
        what to call when the cell prints this line."""
        printed = ""

        def take(message: dict[str, Any]) -> None:
            nonlocal printed
            text = message["content"].get("text", "")
            printed += text
            for line in text.splitlines():
                if at and line in at:
                    at[line]()

        reply = self.client.execute_interactive(code, timeout=LIMIT, output_hook=take)
        return printed, reply["content"].get("ename", "")
