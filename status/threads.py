"""Threads that the operating system runs, and what they share, whatever has been patched.

gevent and eventlet put greenlets in the place of threads: all of them run in one thread of the system, one at
a time. An event loop there would count as running in every greenlet, and Django would refuse the database to
all of them; and a task that never waits would stop what reports for it. So the sender and the reporter run in
real threads, made with what stood in the modules before they were patched.

Where nothing is patched, these are the threads and locks of the standard library.
"""

import asyncio
import importlib
import selectors
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Literal

PATIENCE_SECONDS = 0.005
"""How often a greenlet looks again for what it waits for; only real threads can wait without looking."""

_ours: set[int] = set()
"""The real threads made here, by their identifier."""


def patched_by() -> Literal["", "gevent", "eventlet"]:
    """Which library has replaced this process's threads by greenlets; empty: none.

    Returns:
        The library's name. It is true from the moment it has patched `threading`, imported or not.

    Example:
        >>> patched_by()
        ''
    """
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None and gevent.is_module_patched("threading"):
        return "gevent"
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return "eventlet"
    return ""


def original(module: str, name: str) -> Any:
    """What `name` stood for in `module` before it was patched.

    Args:
        module: a module of the standard library.
        name: a function or class in it.

    Raises:
        AttributeError: there is no such name.

    Example:
        >>> original("_thread", "allocate_lock")().acquire()
        True
    """
    match patched_by():
        case "gevent":
            return sys.modules["gevent.monkey"].get_original(module, name)
        case "eventlet":
            return getattr(sys.modules["eventlet.patcher"].original(module), name)
    return getattr(importlib.import_module(module), name)


def _is_greenlet() -> bool:
    """Whether others wait while the caller does: it is one of many in a thread of the system."""
    return bool(patched_by()) and original("_thread", "get_ident")() not in _ours


class Thread:
    """A daemon thread of the operating system, started at once.

    Args:
        target: what it runs.
        name: shown by debuggers and in logs.

    Example:
        >>> Thread(print, name="printer").is_alive()
        True
    """

    def __init__(self, target: Callable[[], None], *, name: str) -> None:
        self._target = target
        self._ended = False
        self._thread: threading.Thread | None = None
        if patched_by():
            original("_thread", "start_new_thread")(self._run, ())
        else:
            self._thread = threading.Thread(target=target, name=name, daemon=True)
            self._thread.start()

    def is_alive(self) -> bool:
        """Whether its target has not returned."""
        return not self._ended if self._thread is None else self._thread.is_alive()

    def _run(self) -> None:
        ident = original("_thread", "get_ident")()
        _ours.add(ident)
        try:
            self._target()
        finally:
            self._ended = True
            _ours.discard(ident)


class Lock:
    """A lock between real threads and greenlets; whoever waits for it holds up nobody else.

    Example:
        >>> with Lock():
        ...     pass
    """

    def __init__(self) -> None:
        self._lock = original("_thread", "allocate_lock")()

    def __enter__(self) -> None:
        if self._lock.acquire(False):
            return
        if _is_greenlet():
            # Whoever holds it may be another greenlet, which can only let go of it when this one waits.
            while not self._lock.acquire(False):
                time.sleep(PATIENCE_SECONDS)
        else:
            self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


class Event:
    """As `threading.Event`, between real threads and greenlets.

    Example:
        >>> event = Event()
        >>> event.wait(0.01)
        False
    """

    def __init__(self) -> None:
        self._is_set = False
        self._lock = Lock()
        self._waiters: list[Any] = []

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it, and wake all who wait."""
        with self._lock:
            self._is_set = True
            waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.release()

    def clear(self) -> None:
        """Take it back."""
        self._is_set = False

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until it is set, for ever or for so many seconds; returns whether it was."""
        if _is_greenlet():
            return self._look(timeout_seconds)
        with self._lock:
            if self._is_set:
                return True
            waiter = original("_thread", "allocate_lock")()
            waiter.acquire()
            self._waiters.append(waiter)
        if waiter.acquire(True, -1 if timeout_seconds is None else max(timeout_seconds, 0)):
            return True
        with self._lock:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        return self._is_set

    def _look(self, timeout_seconds: float | None) -> bool:
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while not self._is_set and (deadline is None or time.monotonic() < deadline):
            time.sleep(PATIENCE_SECONDS)
        return self._is_set


def new_event_loop() -> asyncio.AbstractEventLoop:
    """An event loop for a `Thread`; it waits in that thread alone.

    Example:
        >>> new_event_loop().run_until_complete(asyncio.sleep(0, "done"))
        'done'
    """
    if not patched_by():
        return asyncio.new_event_loop()
    return _RealLoop(_selector())


def _selector() -> selectors.BaseSelector:
    if patched_by() == "gevent":
        selector: selectors.BaseSelector = original("selectors", "DefaultSelector")()
    else:
        # eventlet's own copy of the module still waits with its greenlets.
        selector = selectors.SelectSelector()
        selector._select = original("select", "select")  # type: ignore[attr-defined]
    return selector


class _RealLoop(asyncio.SelectorEventLoop):
    """A loop that does by itself what other loops give to further threads: those would be greenlets here.

    It looks names up in the thread it runs in, so a slow name server holds up the loop, but only the loop.
    """

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        return original("socket", "getaddrinfo")(*args, **kwargs)

    async def getnameinfo(self, *args: Any, **kwargs: Any) -> Any:
        return original("socket", "getnameinfo")(*args, **kwargs)

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future
