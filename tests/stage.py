"""Workers and a broker without processes: the test says which message arrives, and when a worker gets on.

Everything between the message and the row is the real thing: Celery's `apply_async`, `retry` and `replace`, the
signals in the order in which a worker sends them, the reporter. Replaced is only the edge where a message leaves
for the broker, the reporter's thread (the test ticks), and the clock.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from celery import current_app, signals
from celery.app.task import Context
from celery.exceptions import Ignore, Reject
from django.db import OperationalError, connection
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError
from kombu.utils.json import dumps

from status import channel, reporter
from status.call_off import HEADER as CALLS_OFF
from status.events import JobEvent
from status.live import JobCancelled, LiveJob, current_job, set_current
from status.models import Job
from status.outbox import ATTEMPT_HEADER
from status.progress import log
from status.reporter import Reporter
from status.sources.remote import POLL_HEADER


@dataclass(eq=False)
class Message:
    """What was sent."""

    headers: dict[str, Any]
    args: list[Any]
    kwargs: dict[str, Any]
    embed: dict[str, Any]

    @property
    def job(self) -> UUID:
        return UUID(self.headers["id"])

    @property
    def attempt(self) -> int | None:
        return self.headers.get(ATTEMPT_HEADER)

    @property
    def calls_off(self) -> bool:
        return CALLS_OFF in self.headers

    @property
    def is_poll(self) -> bool:
        return POLL_HEADER in self.headers

    @property
    def is_expired(self) -> bool:
        expires = self.headers.get("expires")
        return expires is not None and datetime.fromisoformat(expires) < timezone.now()


class Still(Reporter):
    """A reporter without its thread."""

    def _start(self) -> None:
        pass


@dataclass(eq=False)
class Run:
    """One execution of a message, in a worker process of its own."""

    message: Message
    worker: str = "w@stage"
    cut_off: bool = False
    """It does not reach the database."""
    texts: list[str] = field(default_factory=list)
    live: LiveJob | None = None
    seconds: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.reporter = Still()
        self.task = current_app.tasks[self.message.headers["task"]]
        fields = {key: value for key, value in self.message.headers.items() if value is not None}
        self.request = fields | {
            **self.message.embed,
            "args": self.message.args,
            "kwargs": self.message.kwargs,
            "hostname": self.worker,
            "delivery_info": {"routing_key": "default"},
            "called_directly": False,
        }

    @contextmanager
    def inside(self) -> Iterator[None]:
        """As the process sees the world."""
        outer, reporter._reporter = reporter._reporter, self.reporter
        set_current(self.live)
        self.task.push_request(**self.request)
        try:
            with connection.execute_wrapper(self._execute):
                yield
        finally:
            self.task.pop_request()
            set_current(None)
            reporter._reporter = outer

    def _execute(self, execute: Any, *args: Any) -> Any:
        if self.cut_off:
            raise OperationalError("cut off")
        return execute(*args)

    def _send(self, signal: Any, **fields: Any) -> None:
        """Send a signal of Celery's; what a handler raises is dropped by Celery and fails the test here."""
        for _receiver, answer in signal.send(sender=self.task, **fields):
            if isinstance(answer, Exception) and not self.cut_off:
                raise answer

    def _postrun(self, state: str, retval: Any) -> None:
        ids = {"task_id": self.message.headers["id"], "task": self.task}
        self._send(signals.task_postrun, **ids, retval=retval, state=state, args=[], kwargs={})

    # -- what happens to it

    def begin(self) -> bool:
        """Whether the task is executed."""
        with self.inside():
            ids = {"task_id": self.message.headers["id"], "task": self.task}
            self._send(signals.task_prerun, **ids, args=self.message.args, kwargs=self.message.kwargs)
            self.live = current_job()
            assert self.live is not None
            if self.live.refused:
                self._postrun("IGNORED", Ignore())
            return not self.live.refused

    def say(self, text: str) -> None:
        """Log a line."""
        with self.inside():
            log(text)
            self.texts.append(text)

    def publish(self) -> None:
        """What the reporter does ten times a second."""
        with self.inside():
            for watch in self.reporter._watches.values():
                self.seconds += 1
                self.reporter._publish(watch, self.seconds)

    def checkpoint(self) -> None:
        """What the reporter does once a second."""
        with self.inside():
            watches = list(self.reporter._watches.values())
            self.seconds += 1
            self.reporter._checkpoint(watches, self.seconds)
            if self.reporter._late:
                self.reporter._write_late()

    @property
    def shall_stop(self) -> bool:
        """Whether its next report raises `JobCancelled`."""
        try:
            with self.inside():
                self.live.attend()
        except JobCancelled:
            return True
        return False

    def succeed(self, result: Any = None) -> None:
        with self.inside():
            self._send(signals.task_success, result=result)
            self._postrun("SUCCESS", result)

    def fail(self, error: BaseException) -> None:
        with self.inside():
            ids = {"task_id": self.message.headers["id"]}
            self._send(signals.task_failure, **ids, exception=error, args=[], kwargs={}, traceback=None)
            self._postrun("FAILURE", error)

    def retry(self, countdown: float = 0) -> None:
        """Send the message of the next attempt, then say so; nothing happens without a broker."""
        with self.inside():
            try:
                reason = self.task.retry(exc=ConnectionError(), countdown=countdown, throw=False)
            except Reject:
                return
            self._send(signals.task_retry, request=self.task.request, reason=reason, einfo=None)
            self._postrun("RETRY", reason)

    def leave(self, error: Ignore | Reject) -> None:
        """End with an exception that is neither success nor failure."""
        with self.inside():
            self._postrun("REJECTED" if isinstance(error, Reject) else "IGNORED", error)

    def replace(self) -> None:
        """Send another task under its own id, and end."""
        with self.inside():
            try:
                self.task.replace(self.task.si(*self.message.args))
            except Ignore as error:
                self._postrun("IGNORED", error)


@dataclass
class Stage:
    """The broker's messages, the events on their way, the clock."""

    messages: list[Message] = field(default_factory=list)
    events: list[JobEvent] = field(default_factory=list)
    is_down: bool = False
    """The broker."""
    at: datetime = field(default_factory=timezone.now)
    """The time, which passes as the test says and a little whenever somebody looks."""

    def install(self, monkeypatch: Any) -> None:
        """Stand where the broker, the channel layer and the clock stood."""
        monkeypatch.setattr(timezone, "now", self.now)
        monkeypatch.setattr(Job._meta.get_field("created_at"), "_get_default", self.now)
        monkeypatch.setattr(current_app._get_current_object(), "now", self.now)
        monkeypatch.setattr(channel, "publish", self._take_events)
        monkeypatch.setattr("kombu.messaging.Producer.publish", self._take)

    def _take_events(self, *events: Any) -> None:
        self.events += [event for event in events if isinstance(event, JobEvent)]

    def _take(self, body: Any, headers: dict[str, Any], **options: Any) -> None:
        if self.is_down:
            raise BrokerError("the broker is down")
        args, kwargs, embed = json.loads(dumps(body))
        self.messages.append(Message(json.loads(dumps(headers)), args, kwargs, embed))

    def now(self) -> datetime:
        """As `timezone.now`."""
        self.at += timedelta(microseconds=1)
        return self.at

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.at += timedelta(seconds=seconds)

    def deliver(self, message: Message) -> Run | None:
        """A worker gets `message`; returns the execution if there is one."""
        run = Run(message)
        if message.calls_off:
            run.succeed()
            return None
        if message.is_expired:
            with run.inside():
                request = Context(run.request)
                run._send(signals.task_revoked, request=request, terminated=False, signum=None, expired=True)
            return None
        return run if run.begin() else None
