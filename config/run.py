"""Runs the whole project in one terminal: `python -m config.run`, which is what `make run` ends in.

It checks what it needs, starts a Valkey server unless REDIS_URL names one, prepares the database, and keeps
web, workers and beat running until Ctrl-C.
"""

import asyncio
import contextlib
import fcntl
import importlib.util
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TextIO

import redis
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from config.services import all_services, management_command
from config.supervisor import PROJECT, CannotRun, Child, Log, Supervisor
from config.valkey import Valkey, ValkeyError


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the environment asks for."""

    port: int
    server: str
    run_dir: Path
    redis_url: str | None

    @classmethod
    def from_environment(cls) -> Self:
        """Read PORT, SERVER (daphne or uvicorn), RUN_DIR and REDIS_URL; raises `CannotRun`."""
        port, server = os.environ.get("PORT") or "8000", os.environ.get("SERVER") or "daphne"
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise CannotRun(f"PORT={port} is no port; use a number from 1 to 65535.")
        if server not in {"daphne", "uvicorn"}:
            raise CannotRun(f"SERVER={server} is unknown; use daphne or uvicorn.")
        if not importlib.util.find_spec(server):
            raise CannotRun(f"{server} is not installed; `make test` installs it.")
        run_dir = Path(os.environ.get("RUN_DIR") or PROJECT / ".run").resolve()
        return cls(
            port=int(port), server=server, run_dir=run_dir, redis_url=os.environ.get("REDIS_URL") or None
        )


def main() -> int:
    """Run until Ctrl-C and return 0; or say in one line why that cannot be, and return 1."""
    try:
        request = Request.from_environment()
        check_port(request.port)
        if request.redis_url:
            check_redis(request.redis_url)
        with claim(request.run_dir):
            # For the settings, here and in all processes.
            os.environ |= {"RUN_DIR": str(request.run_dir), "PORT": str(request.port)}
            check_settings()
            asyncio.run(run(request))
    except (CannotRun, ValkeyError) as problem:
        sys.stderr.write(f"Cannot run: {problem}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def check_port(port: int) -> None:
    """Raise `CannotRun` unless the web server can have the port."""
    with socket.socket() as probe:
        # As the server does: what an earlier run left in TIME_WAIT is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise CannotRun(
                f"port {port}: {reason}; choose another one, as in `make run PORT=8001`."
            ) from None


def check_redis(url: str) -> None:
    """Raise `CannotRun` unless a server answers there."""
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise CannotRun(
            f"REDIS_URL does not answer: {reason}; start it, or unset REDIS_URL for the embedded one."
        ) from None


def check_settings() -> None:
    """Raise `CannotRun` unless the settings can be read."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        settings.DEBUG  # noqa: B018
    except ImproperlyConfigured as error:
        raise CannotRun(str(error)) from None


def claim(run_dir: Path) -> TextIO:
    """Take the run folder for this process alone: two Valkey servers on the same data would destroy it."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        lock = (run_dir / "run.lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CannotRun(f"it runs already, on the data in {run_dir}; stop that one first.") from None
    except OSError as error:
        raise CannotRun(f"the folder {run_dir} cannot be used: {error.strerror}; set RUN_DIR.") from None
    return lock


async def run(request: Request) -> None:
    """Run everything until a signal asks to stop."""
    log = Log(request.run_dir / "log" / "run.log")
    with contextlib.ExitStack() as stack:
        valkey = None
        if request.redis_url is None:
            valkey = stack.enter_context(Valkey(request.run_dir / "valkey", persistent=True))
            os.environ["REDIS_URL"] = valkey.url
            log.say(f"Valkey runs at {valkey.url}")
        supervisor = Supervisor(log)
        await supervisor.run(serve(supervisor, request, valkey))


async def serve(supervisor: Supervisor, request: Request, valkey: Valkey | None) -> None:
    """Prepare the database, start everything, say when it is ready, and keep it running."""
    supervisor.log.say("preparing the database")
    for name in ("migrate", "ensure_demo_user"):
        await supervisor.finish(management_command(name))
    supervisor.log.say("starting web, workers, beat and the render farm")
    farm_port = free_port()
    os.environ["FARM_URL"] = f"http://127.0.0.1:{farm_port}"
    services = all_services(request.server, request.port, farm_port)
    children = [supervisor.add(service) for service in services]
    await asyncio.gather(
        *(supervisor.keep(child) for child in children),
        keep_valkey(supervisor, valkey),
        announce(supervisor, children, request.port),
    )


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def keep_valkey(supervisor: Supervisor, valkey: Valkey | None) -> None:
    """Start the embedded server again whenever it ends; it reads back what it had written down."""
    while valkey and not supervisor.stopping.is_set():
        if valkey.ended:
            supervisor.log.say("Valkey ended by itself and is started again")
            valkey.start()
        await supervisor.pause(1)


async def announce(supervisor: Supervisor, children: list[Child], port: int) -> None:
    """Wait until everything is up, then print the address."""
    while not await web_answers(port):
        await supervisor.pause(0.1)
        if supervisor.stopping.is_set():
            return
    for child in children:
        if child.service.ready:
            await child.up.wait()
        child.up.set()
    login = ", login demo / demo" if settings.DEBUG else ""
    supervisor.log.say(f"ready: http://127.0.0.1:{port}/{login}. Ctrl-C stops everything.")


async def web_answers(port: int) -> bool:
    """Whether an HTTP server answers there and can do its work."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    with contextlib.closing(writer):
        writer.write(f"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        try:
            answer = await asyncio.wait_for(reader.readline(), 5)
        except (OSError, TimeoutError):
            return False
    # With DEBUG off this host name may be refused, which is an answer as well.
    return b" 200 " in answer or b" 400 " in answer


if __name__ == "__main__":
    sys.exit(main())
