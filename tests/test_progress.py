import json
import logging
import pickle
from decimal import Decimal
from uuid import uuid4

import pytest
from celery.utils.log import get_task_logger
from channels_redis.serializers import registry
from django.utils import translation
from django.utils.translation import gettext_lazy

from status.live import LiveJob, set_current
from status.models import Attachment, Job
from status.progress import JobCancelled, JobLogHandler, attach, log, plan, step, track


@pytest.fixture
def live():
    job = LiveJob(uuid4())
    set_current(job)
    yield job
    set_current(None)


def states(live):
    return [(s.name, s.state) for s in live.steps]


def test_outside_a_job_all_do_nothing(db):
    assert list(track([1, 2], "Import")) == [1, 2]
    with step("Read") as reading:
        reading.update(1, total=2)
        reading.advance()
    step("Loose").update(3)
    plan({"Read": 1})
    log("nobody hears %s", "this")
    attach("file.txt", b"content")
    assert Attachment.objects.count() == 0


def test_track_counts_what_is_done(live):
    seen = []
    for _item in track("abcd", "Import", unit="rows"):
        [importing] = live.steps
        seen.append((importing.current, importing.total, importing.state))
    assert seen == [(0, 4, "running"), (1, 4, "running"), (2, 4, "running"), (3, 4, "running")]
    assert (importing.current, importing.state, importing.unit) == (4, "done", "rows")


def test_names_and_units_are_in_the_language_of_the_task(live):
    # Of Django's own catalog.
    name, unit, other = gettext_lazy("Name"), gettext_lazy("January"), gettext_lazy("February")
    with translation.override("fr"):
        plan({name: 1})
        with step(name, unit=unit) as planned:
            for _item in track([1], gettext_lazy("Date"), unit=other):
                pass
        updated = step("more")
        updated.update(1, unit=unit)
    with translation.override("es"):
        assert (planned.name, planned.unit) == ("Nom", "janvier")
        assert (planned.child.name, planned.child.unit, updated.unit) == ("Date", "février", "janvier")


def test_track_is_lazy(live):
    items = track([1], "Import")
    assert live.steps == []
    next(items)
    assert states(live) == [("Import", "running")]


def test_track_of_an_unknown_length_is_indeterminate(live):
    for _ in track(iter([1, 2]), "Import"):
        assert live.fraction() is None
    assert live.steps[0].current == 2


def test_total_can_be_given(live):
    items = track(iter([1, 2]), "Import", total=2)
    next(items)
    next(items)
    assert live.fraction() == 0.5


def test_a_loop_that_is_left_ends_its_step(live):
    for _ in track(range(10), "Search"):
        break
    assert states(live) == [("Search", "running")]
    with step("Found"):
        assert states(live) == [("Search", "done"), ("Found", "running")]


def test_an_error_in_a_loop_leaves_the_step_where_it_stands(live):
    def work():
        for number in track(range(10), "Import"):
            if number == 4:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert states(live) == [("Import", "running")]
    assert live.fraction() == 0.4


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), 0),
        (float("inf"), 0),
        (Decimal("2.5"), 2.5),
        ("3", 3.0),
        ("many", 0),
        (None, 0),
        (2**80, 2.0**80),
    ],
)
def test_numbers_that_are_none_harm_nobody(live, value, shown):
    counter = step("Count \ud800\x00", unit=gettext_lazy("rows"))
    counter.update(value, total=value)
    found = live.event()
    assert found.steps[0].current == shown
    assert found.progress is None or 0 <= found.progress <= 1
    registry.get_serializer("msgpack").serialize(found.to_wire())
    json.dumps([s.to_wire() for s in found.steps], allow_nan=False).encode()


def test_an_error_leaves_the_step_where_it_stands(live):
    with pytest.raises(ZeroDivisionError), step("Divide"):
        1 / 0  # noqa: B018
    assert states(live) == [("Divide", "running")]


def test_plan_weighs_the_whole(live):
    plan({"Read": 1, "Import": 8, "Write": 1})
    assert live.fraction() == 0
    with step("Read") as reading:
        reading.update(1, total=2)
        assert live.fraction() == pytest.approx(0.05)
    assert live.fraction() == pytest.approx(0.1)
    for _ in track(range(2), "Import"):
        pass
    assert live.fraction() == pytest.approx(0.9)
    with step("Write"):
        pass
    assert live.fraction() == pytest.approx(1.0)
    assert states(live) == [("Read", "done"), ("Import", "done"), ("Write", "done")]


def test_planned_progress_never_goes_back(live):
    plan({"a": 1, "b": 3})
    seen = [live.fraction()]
    for name in ("a", "b"):
        for _ in track(range(5), name):
            seen.append(live.fraction())
    assert seen == sorted(seen)


def test_without_weights_the_current_step_is_the_progress(live):
    with step("Read"):
        assert live.fraction() is None
    for _ in track(range(2), "Import"):
        pass
    with step("Write") as writing:
        writing.update(1, total=4)
        assert live.fraction() == 0.25


def test_an_inline_weight_counts_against_the_other_steps(live):
    with step("Read"):
        pass
    items = track(range(2), "Import", weight=9)
    next(items)
    next(items)
    assert live.fraction() == pytest.approx((1 + 9 * 0.5) / 10)


def test_a_step_inside_a_step_gives_it_its_numbers(live):
    with step("Import"):
        for _ in track(range(4), "Orders", unit="rows"):
            shown = live.steps[0].event()
    assert states(live) == [("Import", "done")]
    assert (shown.name, shown.detail, shown.current, shown.total, shown.unit) == (
        "Import",
        "Orders",
        3,
        4,
        "rows",
    )


def test_a_loose_step_ends_when_the_next_begins(live):
    step("Render").update(1, total=2)
    assert states(live) == [("Render", "running")]
    step("Render").update(2, total=2)
    with step("Upload"):
        assert states(live) == [("Render", "done"), ("Upload", "running")]


def test_the_same_step_again_is_not_a_second_one(live):
    for _ in range(3):
        with step("Page") as page:
            page.update(1, total=2)
    assert states(live) == [("Page", "done")]
    assert live.steps[0].current == 1


def test_endless_steps_are_bounded(live):
    for number in range(500):
        with step(f"File {number}"):
            pass
    assert len(live.steps) == 100
    assert live.steps[-1].name == "File 499"


@pytest.mark.parametrize("steps", [{"a": -1}, {str(n): 1 for n in range(101)}])
def test_a_bad_plan_is_refused(steps):
    with pytest.raises(ValueError, match="plan"):
        plan(steps)


def test_cancel_is_raised_by_track_and_update(live):
    live.cancel_requested_at = live.started_at
    live.attention = True
    with pytest.raises(JobCancelled):
        step("Render").update(1)
    items = track(range(3), "Import")
    with pytest.raises(JobCancelled):
        list(items)


def test_a_swallowed_cancel_is_raised_again(live):
    live.cancel_requested_at = live.started_at
    live.attention = True
    counter = step("Render")
    for _ in range(3):
        with pytest.raises(JobCancelled):
            counter.advance()


def test_cancel_stops_a_loop_whose_body_swallows_errors(live):
    done = 0
    with pytest.raises(JobCancelled):
        for item in track(range(100), "Import"):
            done += 1
            if item == 5:
                live.cancel_requested_at = live.started_at
                live.attention = True
            try:
                step("inner").update(item)
            except Exception:
                continue
    assert done == 6


def test_job_cancelled_survives_pickling():
    assert str(pickle.loads(pickle.dumps(JobCancelled("stop")))) == "stop"


def test_log_formats_like_logging_and_never_raises(live):
    log("%d of %d", 1, 2)
    log("100 % sure")
    log("%d wrong", "x", level=logging.WARNING)
    log("nul \x00 byte")
    log("x" * 5000)
    texts = [line.text for line in live.lines]
    assert texts[:3] == ["1 of 2", "100 % sure", "%d wrong ('x',)"]
    assert "\x00" not in texts[3]
    assert len(texts[4]) == 2000
    assert [line.number for line in live.lines] == [1, 2, 3, 4, 5]


def test_lines_that_cannot_be_kept_are_counted(live, settings):
    settings.STATUS = {"LOG_BUFFER": 10}
    for number in range(25):
        log("line %d", number)
    assert len(live.lines) == 10
    assert live.dropped == 15


def test_task_loggers_show_inside_a_job(live):
    handlers = [h for h in logging.getLogger("celery.task").handlers if isinstance(h, JobLogHandler)]
    assert len(handlers) == 1
    get_task_logger("shop.tasks").warning("out of %s", "stock")
    logging.getLogger("other").warning("not this")
    assert [(line.level, line.text) for line in live.lines] == [(logging.WARNING, "out of stock")]


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["bytes", "text", "path", "file", "text file"])
def test_attach_takes_whatever_holds_content(live, tmp_path, kind):
    Job.objects.create(pk=live.id, task="t", title="T")
    path = tmp_path / "source.txt"
    path.write_text("wörter")
    if kind in ("file", "text file"):
        with path.open("rb" if kind == "file" else "r") as content:
            attach("../wörter.txt", content)
    else:
        attach("../wörter.txt", {"bytes": "wörter".encode(), "text": "wörter", "path": path}[kind])
    attachment = Attachment.objects.get()
    assert attachment.file.read().decode() == "wörter"
    assert attachment.size == 7
    assert attachment.name == "../wörter.txt"
    assert ".." not in attachment.file.name
    assert live.file_count == 1


def test_attach_raises_when_the_file_cannot_be_stored(live, tmp_path):
    with pytest.raises(FileNotFoundError):
        attach("x", tmp_path / "missing")
