"""Many viewers of a page, and what they see; the sockets are in the load client's process."""

import json
import subprocess
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import psutil

from config.supervisor import PROJECT

FINAL = 'data-job-state="succeeded"'


@dataclass(frozen=True, kw_only=True)
class Address:
    """A page's socket, as the browser would open it."""

    url: str
    headers: dict[str, str]


class Viewers:
    """Open on entering, when each has had its first frame; closed on leaving.

    `seconds` is how long that took.
    """

    def __init__(
        self,
        addresses: list[Address],
        count: int,
        *,
        stamps: bool = False,
        final: str = FINAL,
        together: int = 64,
    ) -> None:
        self.spec = {
            "addresses": [[address.url, address.headers] for address in addresses],
            "viewers": count,
            "stamps": stamps,
            "final": final,
            "together": together,
        }
        self.count = count

    def __enter__(self) -> Self:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load"],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.process = psutil.Process(self._child.pid)
        self.seconds = self._ask(json.dumps(self.spec))["seconds"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.kill()
        self._child.wait()

    def report(self) -> dict[str, Any]:
        """What came since the last report; see `load.Tally.report`."""
        return self._ask("report")

    def cpu_seconds(self) -> float:
        """The processor time of the load client."""
        times = self.process.cpu_times()
        return times.user + times.system

    def _ask(self, line: str) -> dict[str, Any]:
        assert self._child.stdin
        assert self._child.stdout
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()
        answer = self._child.stdout.readline()
        if not answer:
            raise RuntimeError("The load client has ended; what it said stands above.")
        return json.loads(answer)
