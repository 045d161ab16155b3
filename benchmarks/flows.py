"""Updates on their way to many viewers, ours and the tutorial's, while something is measured."""

import contextlib
import statistics
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from benchmarks.stack import OPENED, Server, Stack
from benchmarks.viewers import Viewers

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"


def flood(viewers: int) -> float:
    """Updates a second that are more than can be delivered to so many; those too many cost the server as well."""
    return 150_000 / viewers


def window(server: Server, viewers: Viewers, seconds: float) -> dict[str, float]:
    """What is delivered in `seconds`.

    `rate`: deliveries a second; `cpu`: microseconds of the server for each; `busy` and `client`: the part of a
    core that the server and the load client took; `bytes` of a frame; `before`: the updates since the last report.
    """
    before = viewers.report()["updates"]
    began, cpu, client = time.monotonic(), server.cpu_seconds(), viewers.cpu_seconds()
    time.sleep(seconds)
    report = viewers.report()
    took, cpu = time.monotonic() - began, server.cpu_seconds() - cpu
    frames = max(report["frames"], 1)
    return {
        "rate": report["frames"] / took,
        "cpu": cpu / frames * 1e6,
        "busy": cpu / took,
        "client": (viewers.cpu_seconds() - client) / took,
        "bytes": report["bytes"] / frames,
        "delays": report["delays"],
        "updates": report["updates"],
        "before": before,
    }


@contextlib.contextmanager
def ours(
    stack: Stack,
    kind: str,
    viewers: int,
    rate: float,
    *,
    opened: bool = False,
    stamps: bool = False,
    processes: int = 1,
) -> Iterator[tuple[Server, Viewers]]:
    """The job card of one running job: `rate` updates a second in a worker, until it is left."""
    from benchmarks import tasks
    from tests.conftest import ended

    queue, gate = stack.opened() if opened else stack.shipped(), stack.gate()
    with stack.web(kind, processes=processes, **(OPENED if opened else {})) as server:
        job = stack.start(tasks.pulse.s(10**9, 1 / rate, str(gate)), queue)
        with Viewers([stack.card(server, job)], viewers, stamps=stamps) as watching:
            gate.touch()
            try:
                wait_for_frames(watching)
                yield server, watching
            finally:
                gate.unlink()
                ended(job)


@contextlib.contextmanager
def tutorial(
    stack: Stack, kind: str, viewers: int, rate: float, *, layer: str = CORE
) -> Iterator[tuple[Server, Viewers]]:
    """The tutorial's consumer on the same server and the same Redis."""
    from benchmarks import tasks
    from tests.processes import wait_until

    gate, seen, name = stack.gate(), stack.gate(), stack.name("job")
    environment = {"BENCH_TUTORIAL_LAYER": layer}
    queue = stack.queue(f"tutorial-{layer.split('.')[1]}", environment)
    with stack.web(kind, "benchmarks.tutorial:application", environment) as server:
        address = server.address(f"/ws/progress/{name}/", stack.cookie())
        with Viewers([address], viewers) as watching:
            signature = tasks.tutorial_pulse.s(f"progress_{name}", 10**9, 1 / rate, str(gate), str(seen))
            signature.set(queue=queue).delay()
            gate.touch()
            try:
                wait_for_frames(watching)
                yield server, watching
            finally:
                gate.unlink()
                wait_until(seen.exists, 60, "the end of the tutorial's task")


@contextlib.contextmanager
def liveops(stack: Stack, kind: str, viewers: int, rate: float) -> Iterator[tuple[Server, Viewers]]:
    """The consumer of django-liveops on the same server, with the channel layer that is ours."""
    from channels_broadcast.security import issue_subscription_token

    from benchmarks import tasks
    from tests.processes import wait_until

    gate, seen, channel = stack.gate(), stack.gate(), f"liveop.{uuid4()}"
    query = urlencode({"subscription_token": issue_subscription_token(stack.user, [channel], ttl=3600)})
    tasks.liveops_pulse.s(channel, 10**9, 1 / rate, str(gate), str(seen)).set(queue=stack.shipped()).delay()
    # It shows nothing of its own when one connects: a first frame comes with the next update.
    gate.touch()
    with stack.web(kind, "benchmarks.liveops:application") as server:
        address = server.address(f"/asgi/notifications/?{query}", stack.cookie())
        try:
            with Viewers([address], viewers) as watching:
                wait_for_frames(watching)
                yield server, watching
        finally:
            gate.unlink()
            wait_until(seen.exists, 60, "the end of the task of django-liveops")


@contextlib.contextmanager
def bare(stack: Stack, viewers: int, size: int) -> Iterator[tuple[Server, Viewers]]:
    """The limit of sockets in Python: nothing but writes of a prepared frame of `size` bytes."""
    with stack.bare(size) as server, Viewers([server.address("/")], viewers) as watching:
        yield server, watching


def median(rounds: list[dict[str, Any]]) -> dict[str, float]:
    """Of each number the median."""
    return {key: statistics.median(each[key] for each in rounds) for key in rounds[0] if key != "delays"}


def wait_for_frames(viewers: Viewers) -> int:
    """Wait until as many frames have come as there are viewers; returns how many were updates."""
    from tests.processes import wait_until

    frames = updates = 0

    def flows() -> bool:
        nonlocal frames, updates
        report = viewers.report()
        frames, updates = frames + report["frames"], updates + report["updates"]
        return frames >= viewers.count

    wait_until(flows, 60, "the first frames")
    return updates


def rest(viewers: Viewers) -> int:
    """Wait until nothing more comes for a second; returns the updates until then."""
    updates = 0
    while True:
        time.sleep(1)
        came = viewers.report()["updates"]
        if not came:
            return updates
        updates += came
