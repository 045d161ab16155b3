"""The settings of this app: `STATUS = {"BEAT_SECONDS": 10, ...}` in the Django settings, all optional."""

import dataclasses
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Conf:
    """Each field is a key of `STATUS`, written there in upper case."""

    publish_seconds: float = 0.1
    """A worker publishes at most one event per job in this time; changes of state and step do not wait."""

    checkpoint_seconds: float = 1.0
    """A worker writes the rows of its running jobs, and looks for cancel requests, this often."""

    frame_seconds: float = 0.1
    """A page gets at most one frame in this time; changes of state and step do not wait."""

    beat_seconds: float = 10.0
    """The hub sends the heartbeat element to every page this often."""

    beat_late_seconds: float = 25.0
    """A page which has had no heartbeat for this long says so and fetches its frame over HTTP."""

    poll_seconds: float = 5.0
    """While its socket is dead, a page fetches its frame this often."""

    refresh_seconds: int = 5
    """A page without JavaScript reloads this often while something on it moves; six times as seldom with a search."""

    repair_seconds: float = 3.0
    """The hub reads the rows of the live jobs it shows this often; heals what a lost message left stale."""

    linger_seconds: float = 60.0
    """A page whose jobs have all ended keeps its socket this long."""

    log_tail: int = 200
    """So many of a job's last log lines are shown on its page; the file has them all."""

    log_buffer: int = 10_000
    """A worker holds at most so many lines of a job which it could not write yet; then the oldest go."""

    lease_seconds: float = 20.0
    """A running job whose worker has not written its row for this long has lost its worker."""

    sweep_seconds: float = 5.0
    """Beat looks this often for jobs that lost their worker or their message."""

    remote_seconds: float = 1.0
    """Beat looks this often for polls of remote work that are due."""

    worker_seconds: float = 10.0
    """Each worker and web server tells of itself this often; one that has not for three times as long is lost."""

    most_losses: int = 3
    """A job that is safe to repeat and loses its worker in this attempt, or a later one, has failed."""

    track: tuple[str, ...] = field(default=())
    """Patterns of task names (`orders.tasks.*`) whose runs are jobs, whoever sent them."""

    track_children: bool = True
    """What a job's task starts with `delay()` becomes its members."""

    loggers: tuple[str, ...] = field(default=("celery.task",))
    """What these loggers write inside a job shows as its log lines (`celery.task`: `get_task_logger`)."""

    keep_days: float | None = 30
    """Jobs that ended longer ago are deleted, with their log lines and files; 0 or None: kept for ever."""

    keep_jobs: int | None = None
    """Only so many ended jobs are kept, the newest, whoever's they are; 0 or None: no limit by number."""

    keep_audit_days: float | None = 365
    """What people did longer ago is deleted from the audit trail; 0 or None: kept for ever."""

    access: str = "status.rules.OwnerRule"
    """The dotted path of the class that says who may see which jobs and act on them; see [access](access.md)."""

    result_max_bytes: int = 262_144
    """A larger return value (as JSON) is not kept on the row."""

    public_topics: tuple[str, ...] = field(default=())
    """Topics which a visitor without login may watch."""

    channel_layer: str = "default"
    """The alias in CHANNEL_LAYERS."""

    socket_message_bytes: int = 65_536
    """A message over a socket, a program's or a form's, may be so large."""

    socket_messages_per_second: float = 20.0
    """So many messages may come over one socket, a program's or a page's, on average."""

    socket_watches: int = 100
    """A program may watch so many jobs over one socket."""

    site_url: str = ""
    """Where people reach this site (`https://jobs.example.org`): links in e-mails and webhooks begin with it."""

    tell_by: tuple[str, ...] = field(default=("email", "webhook"))
    """Ways, besides the page, by which people may choose to be told; e-mail needs `SITE_URL`."""

    delivery_tries: int = 8
    """An e-mail or a webhook that cannot be delivered is given up after so many tries."""

    delivery_retry_seconds: float = 10.0
    """The second try comes about so long after the first; each further pause is four times as long."""

    delivery_timeout_seconds: float = 10.0
    """The receiver of a webhook, or the mail server, has so long to answer."""

    webhook_http: bool = False
    """Webhooks may go to `http://` too, where everybody between can read them."""

    webhook_private: bool = False
    """Webhooks may go to loopback and private addresses too, so to what only this machine's network can reach."""

    metrics_token: str = ""
    """Whoever sends this as a bearer token may read /metrics; empty: only staff may."""

    secret_names: tuple[str, ...] = (
        "pass",
        "secret",
        "token",
        "api_key",
        "apikey",
        "credential",
        "authorization",
    )
    """Arguments with one of these in their name are masked on the job's page and not searched for; in any case."""

    page_size: int = 25
    """Jobs on one page of the list."""


def known_names() -> set[str]:
    """The keys that `STATUS` may have."""
    return {f.name.upper() for f in dataclasses.fields(Conf)}


@cache
def current() -> Conf:
    """The settings in force.

    What is wrong with them is left to the system check `status.E001`, so that a typing error stops `manage.py check`
    and not a worker.

    >>> current().beat_seconds
    10.0
    """
    given = getattr(settings, "STATUS", {})
    pairs = given.items() if isinstance(given, dict) else ()
    values: dict[str, Any] = {name.lower(): value for name, value in pairs if name in known_names()}
    for name in ("loggers", "public_topics", "secret_names", "tell_by", "track"):
        if name in values:
            values[name] = tuple(values[name])
    return Conf(**values)


def is_secret(name: str) -> bool:
    """Whether an argument of this name is shown to nobody and found by nobody, as `SECRET_NAMES` says.

    >>> is_secret("db_password")
    True
    """
    return any(word.lower() in name.lower() for word in current().secret_names)


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "STATUS":
        current.cache_clear()


setting_changed.connect(_forget, dispatch_uid="status.conf")
