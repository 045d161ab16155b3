"""The log lines of a watch: each once and in order, however the table lags behind what is heard."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from status.events import Line
from status.hub.slots import NOWHERE
from status.models import Job, LogLine
from status.programs import lines
from status.programs.lines import Lines, lines_after
from status.programs.wire import place_text, read_place

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def line(attempt, number):
    return Line(attempt=attempt, number=number, at=NOON, level=20, text=f"{attempt}.{number}")


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 12)), max_size=12),
    st.integers(0, 40),
    st.integers(1, 4),
)
def test_what_is_told_is_the_log_without_gap_or_double(moves, begins, per_answer):
    """Each move: so many lines are written, so many of them stored, and the tail is so long."""
    written, stored = [], 0

    def read(_job_id, place, limit):
        return [found for found in written[:stored] if found.place > place][:limit]

    async def direct(work, *args):
        return work(*args)

    async def store(_seconds):
        # What was waited for: the worker has written its lines.
        nonlocal stored
        stored = len(written)

    async def send(message):
        told.extend(message.lines)

    async def run():
        nonlocal stored
        feed = Lines(uuid4(), (1, begins), send)
        for count, more, tail in moves:
            written.extend([line(1, len(written) + number + 1) for number in range(count)])
            stored = min(len(written), stored + more)
            await feed.tell(written[-tail:])
        stored = len(written)
        await feed.tell_stored()

    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "lines_after", read)
        patch.setattr(lines, "in_thread", direct)
        patch.setattr(lines, "MOST_LINES", per_answer)
        patch.setattr(lines.asyncio, "sleep", store)
        asyncio.run(run())
    assert [(found.attempt, found.number) for found in told] == [
        found.place for found in written if found.place > (1, begins)
    ]


async def test_one_who_has_nothing_begins_with_the_tail():
    told = []

    async def send(message):
        told.append((message.next, [found.number for found in message.lines]))

    feed = Lines(uuid4(), NOWHERE, send)
    await feed.tell([line(1, 8), line(1, 9)])
    await feed.tell([line(1, 9), line(1, 10)])
    await feed.tell([line(1, 9), line(1, 10)])
    assert told == [("1.9", [8, 9]), ("1.10", [10])]


@pytest.mark.django_db
def test_lines_come_from_the_table_by_its_index(alice, django_assert_num_queries):
    job = Job.objects.create(task="t", title="T", owner=alice)
    LogLine.objects.bulk_create(
        LogLine.of(job.pk, line(attempt, number)) for attempt in (1, 2) for number in range(1, 6)
    )
    with django_assert_num_queries(1):
        assert [found.place for found in lines_after(job.pk, (1, 4), 3)] == [(1, 5), (2, 1), (2, 2)]


@pytest.mark.parametrize("text", ["", "1", "1.", ".1", "1.x", "-1.1", "1.1.1", "1.\u0661", "1" * 10 + ".1"])
def test_what_is_no_place_is_refused(text):
    with pytest.raises(ValueError, match="place"):
        read_place(text)


def test_a_place_goes_there_and_back():
    assert read_place(place_text((3, 17))) == (3, 17)
