from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from channels_redis.serializers import registry
from hypothesis import given
from hypothesis import strategies as st

from status.events import (
    JobEvent,
    Line,
    ListEvent,
    LogoutEvent,
    Step,
    TopicEvent,
    from_wire,
    percents,
)
from status.states import RANK, State

moments = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
numbers = st.floats(0, 1e9)
steps = st.builds(
    Step,
    name=st.text(max_size=20),
    weight=numbers,
    state=st.sampled_from(["pending", "running", "done"]),
    current=numbers,
    total=st.none() | numbers,
    unit=st.text(max_size=5),
    detail=st.text(max_size=5),
    seconds=st.none() | numbers,
)
lines = st.builds(
    Line,
    number=st.integers(1, 10**6),
    attempt=st.integers(1, 9),
    at=moments,
    level=st.sampled_from([10, 20, 30, 40]),
    text=st.text(),
)
JOB = uuid4()
job_events = st.builds(
    JobEvent,
    job=st.just(JOB),
    attempt=st.integers(1, 3),
    seq=st.integers(0, 5),
    state=st.sampled_from(list(State)),
    steps=st.lists(steps, max_size=3).map(tuple),
    progress=st.none() | st.floats(0, 1),
    cancel_requested_at=st.none() | moments,
    stoppable=st.booleans(),
    started_at=st.none() | moments,
    line_count=st.integers(0, 9),
    lines=st.lists(lines, max_size=2).map(tuple),
)


@given(job_events)
def test_a_job_event_survives_the_channel_layers_serializer(event):
    serializer = registry.get_serializer("msgpack")
    assert from_wire(serializer.deserialize(serializer.serialize(event.to_wire()))) == event


@pytest.mark.parametrize(
    "event",
    [
        TopicEvent(
            topic="site-status", version=3, payload={"status": "IDLE"}, at=datetime(2026, 1, 2, tzinfo=UTC)
        ),
        ListEvent(scope="all"),
        LogoutEvent(user="1", session="ab"),
    ],
)
def test_other_events_survive_the_wire(event):
    assert from_wire(event.to_wire()) == event


@pytest.mark.parametrize("message", [{"type": "status.job"}, {"type": "other"}, {}, {"type": "status.list"}])
def test_what_is_no_event_is_refused(message):
    with pytest.raises((KeyError, TypeError, ValueError)):
        from_wire(message)


@given(st.lists(job_events, min_size=1, max_size=8), st.randoms())
def test_any_order_and_any_doubling_ends_at_the_newest(events, random):
    newest = max(events, key=lambda event: event.version).version
    shuffled = events + random.choices(events, k=3)
    random.shuffle(shuffled)
    held = None
    for event in shuffled:
        held = event.over(held)
    assert held.version == newest


@given(job_events, job_events)
def test_a_cancel_request_once_seen_stays_within_the_attempt(first, second):
    second = replace(second, attempt=first.attempt)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    asked = replace(first, cancel_requested_at=at)
    assert second.over(asked).cancel_requested_at is not None
    assert asked.over(second).cancel_requested_at is not None


def test_a_new_attempt_forgets_the_cancel_request():
    old = JobEvent(
        job=JOB, attempt=1, seq=9, state=State.RUNNING, cancel_requested_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    new = JobEvent(job=JOB, attempt=2, seq=1, state=State.RUNNING)
    assert new.over(old).cancel_requested_at is None


def test_an_ending_wins_over_progress_with_a_higher_number():
    progress = JobEvent(job=JOB, attempt=1, seq=900, state=State.RUNNING)
    ending = JobEvent(job=JOB, attempt=1, seq=3, state=State.FAILED)
    assert ending.over(progress) == ending
    assert progress.over(ending) == ending


def test_terminal_states_are_the_last_of_their_attempt():
    assert max(RANK.values()) == RANK[State.SUCCEEDED] == RANK[State.FAILED] == RANK[State.CANCELLED]


@pytest.mark.parametrize(
    ("step", "percent"),
    [
        (Step(name="s", state="running", current=1, total=3), 33),
        (Step(name="s", state="running", current=5, total=3), 100),
        (Step(name="s", state="running", current=5), None),
        (Step(name="s", state="running", current=0, total=0), None),
        (Step(name="s", state="pending"), 0),
        (Step(name="s", state="done", current=1, total=3), 100),
    ],
)
def test_percent_of_a_step(step, percent):
    assert step.percent == percent


@pytest.mark.parametrize("total", [100, 200, 300, 700, 1000, 3])
def test_percents_are_those_of_whole_numbers_rounded_down(total):
    assert [percents(part / total) for part in range(total + 1)] == [
        part * 100 // total for part in range(total + 1)
    ]
    assert percents(None) is None
    assert percents(0.9999) == 99
