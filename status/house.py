"""The house: its workers, queues and web servers as they are now, what is wrong with them, and what ended lately.

Read at most every two seconds in one process, by whoever asks first, for all who look.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.utils import timezone

from status import access, charts, computed, diagnosis, health
from status.answers import Aside, Kept
from status.computed import HOUSE
from status.events import TopicEvent
from status.figures import read_figures
from status.findings import Finding
from status.models import Queue, Topic
from status.queue_lines import QueueLine, lines_of, read_waiting
from status.queues import SAMPLES, read_depths, routed
from status.sources.sweep import PULSE
from status.web_servers import WebServer, web_servers_of
from status.windows import WINDOWS
from status.workers import Worker, read_processes, workers_of

FIGURES = "status.figures"
"""The family of topics of figures: `status.figures/24h/orders.tasks.load`, all tasks without a name."""

KEPT_SECONDS, FIGURES_KEPT_SECONDS = 2.0, 8.0
DEPTHS_SECONDS, LAYER_SECONDS = 2.0, 10.0

_kept = Kept()
_depths = Aside("house depths", DEPTHS_SECONDS)
_layer = Aside("house channel layer", LAYER_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """All of it at one moment."""

    at: datetime
    workers: tuple[Worker, ...]
    queues: tuple[QueueLine, ...]
    webs: tuple[WebServer, ...]
    findings: tuple[Finding, ...]
    """The worst first."""


def connect() -> None:
    """Have the topics computed; called once when the app is ready."""
    for topic, compute in ((HOUSE, _house_event), (FIGURES, _figures_event)):
        family = computed.Computed(compute=compute, forget=_kept.clear, may_watch=access.sees_all)
        computed.register(topic, family)


def current() -> House:
    """The house as it is now, or was two seconds ago.

    >>> current().findings[0].text
    'No worker is up'
    """
    house: House = _house_event(HOUSE).payload["house"]
    return house


def figures_topic(window: str, task: str = "") -> str:
    """The topic of the figures of a window, of one task or all.

    >>> figures_topic("24h")
    'status.figures/24h/'
    """
    return f"{FIGURES}/{window}/{task}"


def _house_event(topic: str) -> TopicEvent:
    return _kept.get(topic, KEPT_SECONDS, lambda: {"house": read_house()})


def _figures_event(topic: str) -> TopicEvent:
    _family, window, task = topic.split("/", 2)
    return _kept.get(topic, FIGURES_KEPT_SECONDS, lambda: _figures_payload(window, task))


def _figures_payload(window: str, task: str) -> dict[str, Any]:
    figures = read_figures(WINDOWS[window], task, timezone.now())
    return {
        "figures": figures,
        "throughput": charts.throughput(figures),
        "waiting": charts.waiting(figures),
        "running": charts.running(figures),
    }


def read_house() -> House:
    """Read it all: seven queries, by indexes, however many jobs have ended."""
    now = timezone.now()
    processes = read_processes(now)
    workers = workers_of(processes, now)
    rows = {row.name: row for row in Queue.objects.select_related("paused_by")}
    waiting = read_waiting()
    consumed = {queue for worker in workers if worker.is_up for queue in worker.told.queues}
    names = routed() | set(rows) | set(waiting) | consumed
    depths, broken = _depths.ask(partial(read_depths, names))
    topics = {row.name: row for row in Topic.objects.filter(pk__in=[SAMPLES, PULSE])}
    lines = lines_of(names, workers, rows, waiting, depths or {}, topics.get(SAMPLES), now)
    findings = diagnosis.diagnose(
        workers=workers,
        lines=lines,
        pulse=topics.get(PULSE),
        broker=broken,
        layer=_layer.ask(health.ask_channel_layer)[1],
        now=now,
    )
    return House(
        at=now,
        workers=tuple(workers),
        queues=tuple(lines),
        webs=tuple(web_servers_of(processes)),
        findings=tuple(findings),
    )
