"""Whether this process can do its work: what `/readyz` asks, each within two seconds."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from celery import current_app
from django.db import connections, router

from status import channel
from status.events import ListEvent
from status.hub import get_hub
from status.models import Job

logger = logging.getLogger(__name__)

CHECK_SECONDS = 2
OK = "ok"
NOBODY = "probe"
"""A list that nobody watches."""

_threads = ThreadPoolExecutor(8, thread_name_prefix="status-health")
_running: dict[str, "Future[Any]"] = {}


class NotReady(Exception):
    """Something does not work; the text tells what."""


async def readiness(*, with_hub: bool) -> dict[str, str]:
    """Look at everything at once; returns `ok`, or what is wrong, for each.

    What is said names no address and no secret; the log has the rest.

    Args:
        with_hub: whether this process serves sockets and so has a hub.

    Example:
        >>> await readiness(with_hub=True)
        {'database': 'ok', 'channel layer': 'ok', 'broker': 'no answer within 2 s', 'hub': 'ok'}
    """
    checks: dict[str, Callable[[], Awaitable[Any]]] = {
        "database": lambda: asyncio.wrap_future(in_thread("database", _ask_database)),
        "channel layer": lambda: asyncio.wrap_future(in_thread("channel layer", ask_channel_layer)),
        "broker": lambda: asyncio.wrap_future(in_thread("broker", _ask_broker)),
    }
    if with_hub:
        checks["hub"] = lambda: get_hub().probe.send()
    said = await asyncio.gather(*(_in_time(name, check) for name, check in checks.items()))
    return dict(zip(checks, said, strict=True))


def in_thread(name: str, work: Callable[[], Any]) -> "Future[Any]":
    """Begin `work` in a thread, unless what was begun under that name is still under way: that is waited for then.

    So of what hangs there is one at most, however often it is asked.
    """
    held = _running.get(name)
    if held is None or held.done():
        held = _running[name] = _threads.submit(work)
    return held


async def _in_time(name: str, check: Callable[[], Awaitable[Any]]) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except TimeoutError:
        logger.warning("Not ready: the %s does not answer within %g s", name, CHECK_SECONDS)
        return f"no answer within {CHECK_SECONDS:g} s"
    except NotReady as error:
        logger.warning("Not ready: the %s: %s", name, error)
        return str(error)
    except Exception as error:
        logger.warning("Not ready: the %s: %r", name, error)
        return f"does not work ({type(error).__name__})"
    return OK


def _ask_database() -> None:
    """It can be reached, and has our table."""
    try:
        Job.objects.order_by().values_list("pk")[:1].exists()
    finally:
        connections[router.db_for_read(Job)].close()


def ask_channel_layer() -> None:
    """See that what this process publishes gets out.

    Raises:
        NotReady: it does not; the text tells why.
    """
    if channel.get_layer() is None:
        raise NotReady("there is none in CHANNEL_LAYERS")
    channel.publish(ListEvent(scope=NOBODY))
    if not channel.flush(CHECK_SECONDS * 0.75):
        raise NotReady("takes no messages")


def _ask_broker() -> None:
    """Messages of jobs can be sent."""
    with current_app.connection_for_write(connect_timeout=CHECK_SECONDS) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=CHECK_SECONDS)
