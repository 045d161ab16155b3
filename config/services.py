"""The processes that make up the running project, and how each is started."""

import sys
from dataclasses import dataclass

# Seven lines of warning from each worker on a machine where there is only root.
NOT_AS_ROOT = ("-W", "ignore:You're running the worker with superuser privileges")
CELERY = (sys.executable, *NOT_AS_ROOT, "-m", "celery", "--quiet", "-A", "config")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One process to run."""

    name: str
    """What stands before each line of its output."""

    colour: int = 1
    """The ANSI colour of that name."""

    command: tuple[str, ...]

    ready: str = ""
    """Part of the line by which it says that it is up; empty if it says nothing of the kind."""

    cancels_tasks: bool = False
    """Whether it cancels the tasks it still runs on SIGQUIT, as Celery does in its prefork pool.

    With threads it fails to, and alone ("solo") it reports that failure as the task's own.
    """


def all_services(server: str, port: int, farm_port: int) -> list[Service]:
    """Return everything that is kept running; `farm_port` is for the demo's render farm.

    Each queue has a process of its own: a long job must not hold up a poll, nor either of them a broadcast.
    """
    return [
        _web(server, port),
        _worker("work", 32, "default", "-P", "prefork", "-c", "2"),
        _worker("poll", 33, "poll", "-P", "threads", "-c", "4"),
        _worker("bcast", 35, "broadcast", "-P", "solo"),
        _beat(),
        _farm(farm_port),
    ]


def management_command(name: str) -> Service:
    """Return a command that is run to its end before anything else starts."""
    return Service(name="setup", command=(sys.executable, "manage.py", name, "--verbosity", "0"))


def _web(server: str, port: int) -> Service:
    options = {
        # A socket that lives for days is a page left open, not a fault: no time limit. After a restart all of them
        # come back at once: more than the 50 that Twisted lets wait, and not all are answered within daphne's 5 s.
        "daphne": (
            *("-e", f"tcp:{port}:interface=127.0.0.1:backlog=4096"),
            *("--websocket_timeout", "-1", "--websocket_connect_timeout", "30"),
        ),
        "uvicorn": (
            *("--host", "127.0.0.1", "--port", str(port), "--ws", "config.sockets:DirectProtocol"),
            *("--ws-per-message-deflate", "false"),
            *("--timeout-graceful-shutdown", "2"),
        ),
    }
    module = "config.web" if server == "daphne" else server
    command = (sys.executable, "-m", module, *options[server], "config.asgi:application")
    return Service(name="web", colour=36, command=command)


def _worker(name: str, colour: int, queue: str, *pool: str) -> Service:
    command = (*CELERY, "worker", "-Q", queue, "-n", f"{queue}@%h", *pool)
    command += ("--without-gossip", "--without-mingle", "-l", "INFO")
    return Service(
        name=name, colour=colour, command=command, ready=" ready.", cancels_tasks="prefork" in pool
    )


def _beat() -> Service:
    # Without a pid file, which would be written beside the project and outlive a crash.
    command = (*CELERY, "beat", "--pidfile=", "-l", "INFO")
    return Service(name="beat", colour=34, command=command, ready="beat: Starting")


def _farm(port: int) -> Service:
    command = (sys.executable, "-m", "demo.farm", "--port", str(port))
    return Service(name="farm", colour=37, command=command, ready="The farm listens")
