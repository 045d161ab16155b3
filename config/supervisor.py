"""Keeps a set of processes running, shows what they print, and stops them in order."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Coroutine
from logging import makeLogRecord
from logging.handlers import RotatingFileHandler
from pathlib import Path

from config.lifeline import adopt_orphans, die_with_parent, reap
from config.services import Service

PROJECT = Path(__file__).resolve().parent.parent

# A stop may take ten seconds. Tasks first have time to end by themselves; an idle prefork pool needs three
# seconds for that. Then the pool's tasks are cancelled: Celery waits CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT once
# more, and then takes up to two seconds. Then whatever is left is killed. Valkey has the rest.
SECONDS_TO_FINISH = 3.2
SECONDS_TO_CANCEL = 5.3


class CannotRun(Exception):
    """The message is the one line that says what is wrong and what to do."""


class Log:
    """Every line of every process, on the terminal and in a file that a new run starts afresh."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = RotatingFileHandler(path, maxBytes=20_000_000, backupCount=3, encoding="utf-8")
        if path.stat().st_size:
            self._file.doRollover()
        self._coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def line(self, name: str, text: str, colour: int = 1) -> None:
        """Write one line behind the name of the process."""
        prefix = f"{name:<6}|"
        self._file.emit(makeLogRecord({"msg": f"{prefix} {text}"}))
        if self._coloured:
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        try:
            sys.stdout.write(f"{prefix} {text}\n")
            sys.stdout.flush()
        except OSError:  # Nobody reads any more, as in `make run | head`; the file goes on.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def say(self, text: str) -> None:
        """Write a line of the supervisor's own."""
        self.line("run", text)


class Child:
    """A service's process, together with all processes that it starts itself."""

    def __init__(self, service: Service, log: Log) -> None:
        self.service = service
        self.up = asyncio.Event()
        self.ended = asyncio.Event()
        self.ended.set()
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> int:
        """Start it, show what it prints, and return its exit code once nothing of it is left."""
        self.ended.clear()
        self._process = await self._start()
        shown = asyncio.create_task(self._show_output(self._process))
        code = await self._process.wait()
        self.kill()
        # A process that left the group may still hold the pipe.
        await asyncio.wait({shown}, timeout=1)
        reap(self._process.pid)
        self.ended.set()
        return code

    def send(self, number: signal.Signals) -> None:
        """Signal the process but not those it started: to end them in good order is up to it."""
        if self._process and self._process.returncode is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL the process and all that it started."""
        if self._process and not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _start(self) -> asyncio.subprocess.Process:
        # In a session of its own it does not see the terminal's Ctrl-C: the supervisor says who ends when.
        return await asyncio.create_subprocess_exec(
            *self.service.command,
            cwd=PROJECT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=1 << 20,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGQUIT if self.service.cancels_tasks else signal.SIGKILL),
        )

    async def _show_output(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # A line of more than a megabyte is left out.
                continue
            if not line:
                return
            if not (text := line.decode(errors="replace").rstrip()):
                continue
            self._log.line(self.service.name, text, self.service.colour)
            if self.service.ready and self.service.ready in text:
                self.up.set()


class Supervisor:
    """Runs commands and keeps services running until a signal asks to stop."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.stopping = asyncio.Event()
        self._children: list[Child] = []
        self._asked_at = 0.0

    async def run(self, work: Coroutine[None, None, None]) -> None:
        """Run `work`, which uses the methods below, until SIGINT, SIGTERM or SIGHUP comes or it fails.

        All processes have ended when this returns or raises.
        """
        adopt_orphans()
        self._listen()
        working = asyncio.create_task(work)
        asked = asyncio.create_task(self.stopping.wait())
        await asyncio.wait({working, asked}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if working.done():
                await working
        finally:
            await self._stop()

    async def finish(self, service: Service) -> None:
        """Run a service to its end; raises `CannotRun` if it fails."""
        if self.stopping.is_set():
            return
        code = await self.add(service).run()
        if code and not self.stopping.is_set():
            raise CannotRun(f"`{' '.join(service.command[1:3])}` failed; its lines above say why.")

    def add(self, service: Service) -> Child:
        """Take a service into care; `keep` then runs it."""
        self._children.append(Child(service, self.log))
        return self._children[-1]

    async def keep(self, child: Child) -> None:
        """Run it again, with growing pauses, each time it ends; raises `CannotRun` if it never was up."""
        pause = 1.0
        while not self.stopping.is_set():
            started = time.monotonic()
            code = await child.run()
            if self.stopping.is_set():
                return
            name, how = child.service.name, f"signal {-code}" if code < 0 else f"exit code {code}"
            if not child.up.is_set():
                raise CannotRun(f"{name} does not start ({how}); its lines above say why.")
            self.log.say(f"{name} ended by itself ({how}) and is started again in {pause:.0f} s")
            await self.pause(pause)
            pause = 1.0 if time.monotonic() - started > 60 else min(pause * 2, 30.0)

    async def pause(self, seconds: float) -> None:
        """Sleep, but no longer than until the stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)

    def _listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Under nohup the end of the terminal is not the end of the run.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        if not self.stopping.is_set():
            self._asked_at = time.monotonic()
            self.log.say("stopping; Ctrl-C once more to kill at once")
            self.stopping.set()
        # One Ctrl-C can arrive twice, from the terminal and from make.
        elif number == signal.SIGINT and time.monotonic() - self._asked_at > 0.5:
            self._kill()

    async def _stop(self) -> None:
        self.stopping.set()
        try:
            await self._ask(signal.SIGTERM, self._children, SECONDS_TO_FINISH)
            pools = [child for child in self._children if child.service.cancels_tasks]
            await self._ask(signal.SIGQUIT, pools, SECONDS_TO_CANCEL)
        finally:
            self._kill()
        await self._all_ended()

    async def _ask(self, number: signal.Signals, children: list[Child], patience: float) -> None:
        for child in children:
            child.send(number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._all_ended(), patience)

    async def _all_ended(self) -> None:
        await asyncio.gather(*(child.ended.wait() for child in self._children))

    def _kill(self) -> None:
        for child in self._children:
            child.kill()
