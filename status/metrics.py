"""What `/metrics` says, in the words of Prometheus; needs the package prometheus-client."""

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import cache

from django.db.models import Count, Min, Q
from django.db.models.functions import Coalesce
from django.utils import timezone
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from status.counters import Counters, Histogram, counters
from status.endings import BATCH, FIRST, MOST_BATCHES, SETTLE_SECONDS, Place, ended_after
from status.findings import Kind
from status.health import in_thread
from status.house import current
from status.likely import Likelihood
from status.models import Delivery, Job
from status.queues import BROKER_SECONDS, queue_of, read_depths
from status.states import LIVE, State
from status.workers import Standing

logger = logging.getLogger(__name__)

DURATIONS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400)
"""Bounds of the durations of jobs, in seconds."""

_HELP_OF_JOBS = (
    "Jobs that have not ended, members included, by state; held: queued, and their turn has not come."
)


class Endings:
    """Counts the jobs that end from now on, by reading only those that ended since it last looked.

    Args:
        since: when counting begins.
    """

    def __init__(self, since: datetime) -> None:
        self._place: Place = (since, FIRST)
        self._lock = threading.Lock()
        self.ended: dict[tuple[str, str], int] = {}
        """By task and state."""
        self.durations: dict[str, Histogram] = {}
        """By task: seconds from the beginning of the last attempt to the end."""

    def read(self, until: datetime) -> None:
        """Count what ended up to `until`: in batches, by an index, and so many at most that a scrape is quick."""
        with self._lock:
            for _batch in range(MOST_BATCHES):
                if self._read_some(until) < BATCH:
                    break

    def _read_some(self, until: datetime) -> int:
        rows = ended_after(self._place, until)
        found = list(rows.values_list("finished_at", "pk", "task", "state", "started_at")[:BATCH])
        for finished_at, pk, task, state, started_at in found:
            self.ended[task, state] = self.ended.get((task, state), 0) + 1
            assert finished_at is not None
            if started_at is not None:
                durations = self.durations.setdefault(task, Histogram(*DURATIONS))
                durations.observe(max((finished_at - started_at).total_seconds(), 0.0))
            self._place = finished_at, pk
        return len(found)


class StatusCollector(Collector):
    """Our families: those of this process' counters, and those of the database and the broker.

    Args:
        numbers: what this process has counted.
        endings: which jobs have ended.
    """

    def __init__(self, numbers: Counters, endings: Endings) -> None:
        self._numbers, self._endings = numbers, endings

    def collect(self) -> Iterator[Metric]:
        """All families; what a database or broker that is down would tell is left out, and `status_up` says so."""
        yield from _of_process(self._numbers)
        up = GaugeMetricFamily("status_up", "Whether it answered this scrape.", labels=["part"])
        for part, collect in (("database", self._of_database), ("broker", _of_broker), ("house", _of_house)):
            try:
                families = list(collect())
            except Exception as error:
                # Brokers have errors of their own; what this process counted is told in any case.
                logger.warning("Metrics are given without the %s: %r", part, error)
                up.add_metric([part], 0)
            else:
                up.add_metric([part], 1)
                yield from families
        yield up

    def _of_database(self) -> Iterator[Metric]:
        now = timezone.now()
        yield from _of_live_jobs(now)
        yield from _of_deliveries(now)
        self._endings.read(now - timedelta(seconds=SETTLE_SECONDS))
        ended = CounterMetricFamily(
            "status_jobs_ended",
            "Jobs that ended since the first scrape, without members.",
            labels=["task", "state"],
        )
        for key, count in sorted(self._endings.ended.items()):
            ended.add_metric(key, count)
        yield ended
        durations = HistogramMetricFamily(
            "status_job_duration_seconds", "How long the last attempt of an ended job ran.", labels=["task"]
        )
        for task, histogram in sorted(self._endings.durations.items()):
            durations.add_metric([task], *_filled(histogram))
        yield durations


def _of_process(numbers: Counters) -> Iterator[Metric]:
    counts = {
        "status_events_sent": (numbers.sent, "Events that this process handed to the channel layer."),
        "status_events_refused": (numbers.refused, "Events that the channel layer did not take."),
        "status_events_merged": (numbers.merged, "Events replaced by a newer one before they were sent."),
        "status_events_received": (numbers.received, "Messages that the hub got from the channel layer."),
        "status_events_outdated": (numbers.outdated, "Events older than what the hub had."),
        "status_events_conflated": (numbers.conflated, "Changes that went with a frame already due."),
        "status_events_repaired": (numbers.repaired, "Changes that a row told first, and no event."),
        "status_frames_replaced": (
            numbers.frames_replaced,
            "Frames replaced before a slow socket took them.",
        ),
    }
    for name, (count, meaning) in counts.items():
        yield CounterMetricFamily(name, meaning, value=count)
    yield GaugeMetricFamily("status_sockets", "Sockets of pages that are open.", value=numbers.sockets)
    for name, histogram, meaning in (
        ("status_frame_bytes", numbers.frame_bytes, "Sizes of the frames written to sockets."),
        ("status_event_delay_seconds", numbers.delay_seconds, "From sending an event until the hub had it."),
    ):
        family = HistogramMetricFamily(name, meaning)
        family.add_metric([], *_filled(histogram))
        yield family


def _filled(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """The cumulated buckets and the sum."""
    total, buckets = 0, []
    for bound, count in zip(
        [*map(float, histogram.bounds), float("inf")], list(histogram.counts), strict=True
    ):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else str(bound), float(total)))
    return buckets, histogram.sum


def _of_live_jobs(now: datetime) -> Iterator[Metric]:
    """One query over the jobs that have not ended, by an index; how many have ended does not matter."""
    rows = (
        Job.objects.filter(Likelihood(Q(state__in=sorted(LIVE)), 0.0001), canvas="")
        .order_by()
        .values_list("state", "held", "task", "queue")
        .annotate(Count("pk"), sent=Min(Coalesce("sent_at", "created_at")), reported=Min("heartbeat_at"))
    )
    jobs: dict[tuple[str, str], int] = {}
    depths: dict[str, int] = {}
    oldest: dict[str, datetime] = {}
    reported: list[datetime] = []
    for state, held, task, queue, count, sent, heartbeat in rows:
        shown = "held" if held and state == State.QUEUED else state
        jobs[shown, task] = jobs.get((shown, task), 0) + count
        if shown == State.QUEUED:
            queue = queue or queue_of(task)
            depths[queue] = depths.get(queue, 0) + count
            oldest[queue] = min(oldest.get(queue, sent), sent)
        if state == State.RUNNING and heartbeat is not None:
            reported.append(heartbeat)
    family = GaugeMetricFamily("status_jobs", _HELP_OF_JOBS, labels=["state", "task"])
    for key, count in sorted(jobs.items()):
        family.add_metric(key, count)
    yield family
    depth = GaugeMetricFamily("status_queue_jobs", "Jobs that wait for a worker.", labels=["queue"])
    age = GaugeMetricFamily(
        "status_queue_oldest_seconds", "How long the oldest of them has waited.", labels=["queue"]
    )
    for queue in sorted(depths):
        depth.add_metric([queue], depths[queue])
        age.add_metric([queue], max((now - oldest[queue]).total_seconds(), 0.0))
    yield depth
    yield age
    lag = max((now - min(reported, default=now)).total_seconds(), 0.0)
    yield GaugeMetricFamily(
        "status_reporter_lag_seconds",
        "The age of the oldest row of a running job; workers write once a second.",
        lag,
    )


def _of_deliveries(now: datetime) -> Iterator[Metric]:
    """One query over what is still on its way, by an index."""
    rows = (
        Delivery.objects.filter(due_at__isnull=False)
        .order_by("channel", "tries", "state")
        .values_list("channel", "tries", "state")
        .annotate(Count("pk"), oldest=Min("created_at"))
    )
    counts: Counter[tuple[str, str]] = Counter()
    oldest = now
    for channel, tries, state, count, created in rows:
        failed = tries - (state == Delivery.State.SENDING)
        counts[channel, "yes" if failed else "no"] += count
        oldest = min(oldest, created)
    family = GaugeMetricFamily(
        "status_deliveries",
        "E-mails and webhooks on their way; again: at least one try has failed.",
        labels=["channel", "again"],
    )
    for key, count in counts.items():
        family.add_metric(key, count)
    yield family
    yield GaugeMetricFamily(
        "status_delivery_oldest_seconds",
        "How long ago the oldest of them was written.",
        (now - oldest).total_seconds(),
    )


def _of_broker() -> Iterable[Metric]:
    family = GaugeMetricFamily("status_queue_messages", "Messages that wait at the broker.", labels=["queue"])
    for queue, count in in_thread("depths", read_depths).result(BROKER_SECONDS).items():
        if count is not None:
            family.add_metric([queue], count)
    return [family]


def _of_house() -> Iterable[Metric]:
    """What the page of workers and queues knows as well."""
    house = current()
    workers = GaugeMetricFamily("status_workers", "Workers of the last day.", labels=["standing"])
    for standing in Standing:
        count = sum(worker.standing is standing for worker in house.workers)
        workers.add_metric([standing], count)
    paused = GaugeMetricFamily("status_queue_paused", "Whether a queue is paused.", labels=["queue"])
    for queue in house.queues:
        paused.add_metric([queue.name], float(queue.paused_at is not None))
    findings = GaugeMetricFamily("status_findings", "Things that are wrong, by kind.", labels=["kind"])
    for kind in Kind:
        findings.add_metric([kind.key], sum(finding.kind is kind for finding in house.findings))
    return [workers, paused, findings]


@cache
def registry() -> CollectorRegistry:
    """Our families and those of the process; endings count from the first call."""
    made = CollectorRegistry()
    made.register(StatusCollector(counters, Endings(since=timezone.now())))
    ProcessCollector(registry=made)
    return made


def exposition(accept: str) -> tuple[bytes, str]:
    """All metrics as text, and its content type.

    Args:
        accept: the request's header; OpenMetrics for who asks for it, else Prometheus' own format.
    """
    encode, content_type = choose_encoder(accept)
    return encode(registry()), content_type
