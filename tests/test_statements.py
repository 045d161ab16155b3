from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection, transaction
from django.db.models import Count, F
from django.test.utils import CaptureQueriesContext

from status.models import Job, Notification
from status.models.queries import job_ended
from status.models.statements import Select, can_return, insert, slot, update
from status.states import State

pytestmark = pytest.mark.django_db

# One of every kind of column, each with a value that would not survive careless preparation.
ODD = {
    "title": '50 % of "it\'s" \U0001f40c',
    "signature": {"task": "a.b", "args": [None, "%s", {"ä": 1.5}]},
    "params": {},
    "given": None,
    "output": [None],
    "weight": 0.1,
    "may_fail": True,
    "position": 7,
    "most_attempts": None,
    "key": None,
    "steps": [["%d", 1.0, "running", 1, None, "", "", None]],
    "started_at": datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC),
    "progress": None,
    "error": "%(x)s",
}


def fields_of(row):
    return {f.attname: getattr(row, f.attname) for f in row._meta.concrete_fields}


def test_what_is_inserted_is_what_django_would_have_inserted():
    owner = get_user_model().objects.create(username="alice")
    ours, theirs = (Job(task="t", owner=owner, **ODD) for _ in range(2))
    insert([ours], "default")
    theirs.save(force_insert=True)
    read, expected = (fields_of(Job.objects.get(pk=job.pk)) for job in (ours, theirs))
    differing = {name for name in read if read[name] != expected[name]}
    assert differing <= {"id", "created_at"}
    assert read == fields_of(ours)
    assert not ours._state.adding


def test_what_is_updated_is_what_django_would_have_updated():
    ours, theirs = (Job.objects.create(task="t", title="T") for _ in range(2))
    slots = {name: slot(Job, name) for name in ODD}
    rows = Job.objects.filter(pk=slot(Job, "pk"), title="T")
    statement = update(rows, {**slots, "seq": F("seq") + 1})
    assert statement.run({**ODD, "pk": ours.pk}) == 1
    assert statement.run({**ODD, "pk": ours.pk}) == 0
    Job.objects.filter(pk=theirs.pk).update(**ODD, seq=F("seq") + 1)
    read, expected = (fields_of(Job.objects.get(pk=job.pk)) for job in (ours, theirs))
    assert {name for name in read if read[name] != expected[name]} <= {"id", "created_at"}
    assert read["seq"] == 1


@pytest.mark.parametrize("left_out", [(), ("signature", "title"), ("parent", "id")])
def test_what_is_selected_is_what_django_would_have_selected(left_out):
    owner = get_user_model().objects.create(username="alice")
    whole = Job.objects.create(task="t", owner=owner, **ODD)
    ours = Job.objects.create(task="t", owner=owner, parent=whole, **ODD)
    rows = Job.objects.filter(pk=slot(Job, "pk"), owner=slot(Job, "owner")).defer(*left_out)
    select = Select(rows)
    [read] = select.run(pk=ours.pk, owner=owner.pk)
    expected = Job.objects.defer(*left_out).get(pk=ours.pk)
    assert read.get_deferred_fields() == expected.get_deferred_fields()
    assert fields_of(read) == fields_of(expected)
    assert (read.parent, read.owner, read._state.db, read._state.adding) == (whole, owner, "default", False)
    assert select.run(pk=ours.pk, owner=0) == []


def test_columns_and_counts_are_selected_as_django_would():
    whole = Job.objects.create(task="t", title="T")
    Job.objects.bulk_create([Job(task="t", parent=whole, **(ODD | {"position": n})) for n in range(3)])
    asked = ("parent", "state", "started_at", "params", "weight", "may_fail")
    rows = Job.objects.filter(parent=whole).order_by().values_list(*asked).annotate(number=Count("pk"))
    select = Select(
        Job.objects.filter(parent=slot(Job, "parent"))
        .order_by()
        .values_list(*asked)
        .annotate(number=Count("pk"))
    )
    assert select.run(parent=whole.pk) == list(rows)
    assert select.run(parent=whole.pk)[0][-1] == 3


def test_rows_with_those_they_refer_to_are_not_selected():
    with pytest.raises(AssertionError, match="columns"):
        Select(Job.objects.select_related("owner"))


def test_many_rows_go_in_with_one_text():
    jobs = [Job(task="t", title=str(number)) for number in range(600)]
    insert(jobs, "default")
    assert Job.objects.count() == 600
    insert([], "default")


def test_a_row_that_breaks_a_constraint_is_refused_or_left_out():
    job = Job.objects.create(task="t", title="T")
    owner = get_user_model().objects.create(username="alice")
    rows = [Notification(owner=owner, job=job, attempt=1, title="T") for _ in range(2)]
    insert(rows, "default", ignore_conflicts=True)
    assert Notification.objects.count() == 1
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(rows[:1], "default")
    assert Notification.objects.count() == 1


def test_a_filtered_queryset_moves_only_what_is_in_it():
    job = Job.objects.create(task="t", title="T")
    assert not Job.objects.filter(title="another").advance(job.pk, State.RUNNING, attempt=1)
    assert not Job.objects.exclude(pk=job.pk).advance(job.pk, State.RUNNING, attempt=1)
    assert Job.objects.filter(title="T").advance(job.pk, State.RUNNING, attempt=1)


def test_a_statement_that_fails_spoils_the_transaction_it_is_in_as_any_other():
    job = Job.objects.create(task="t", title="T")
    with transaction.atomic():
        with pytest.raises(ValueError, match="not-a-number"):
            Job.objects.advance(job.pk, State.RUNNING, attempt=1, weight="not-a-number")
        assert not connection.needs_rollback
        assert Job.objects.advance(job.pk, State.RUNNING, attempt=1)


@pytest.mark.parametrize("returns", [True, False], ids=["returned", "asked for"])
def test_who_listens_to_an_end_is_told_whose_it_is(monkeypatch, returns):
    """A database that cannot say so in its UPDATE is asked."""
    if returns and not can_return("default"):
        pytest.skip("this database cannot")
    monkeypatch.setattr("status.models.queries.can_return", lambda alias: returns)
    owner = get_user_model().objects.create(username="alice")
    whole = Job.objects.create(task="t", title="Whole", owner=owner)
    job = Job.objects.create(task="t", title="Part", owner=owner, parent=whole, root=whole)
    told = []

    def note(sender, **fields):
        told.append({name: fields[name] for name in ("job_id", "owner_id", "parent_id", "title")})

    job_ended.connect(note)
    try:
        with CaptureQueriesContext(connection) as context:
            assert Job.objects.advance(job.pk, State.FAILED, attempt=1)
        assert not Job.objects.advance(job.pk, State.CANCELLED, attempt=1)
        assert not Job.objects.advance(uuid4(), State.CANCELLED, attempt=1)
    finally:
        job_ended.disconnect(note)
    assert told == [{"job_id": job.pk, "owner_id": owner.pk, "parent_id": whole.pk, "title": "Part"}]
    assert sum(query["sql"].startswith("SELECT") for query in context) == (0 if returns else 1)


def test_the_text_is_made_once_for_each_kind_of_move(monkeypatch):
    from status.models import queries

    made = []
    monkeypatch.setattr(queries, "update", lambda *args: made.append(args) or update(*args))
    queries._made_before.cache_clear()
    for number in range(5):
        job = Job.objects.create(task="t", title="T")
        at = datetime.now(UTC) + timedelta(seconds=number)
        assert Job.objects.advance(job.pk, State.RUNNING, attempt=1, seq=1, started_at=at)
        assert Job.objects.advance(job.pk, State.RUNNING, attempt=1, seq=2, progress=number / 5)
        assert Job.objects.advance(job.pk, State.SUCCEEDED, attempt=1, seq=3)
    assert len(made) == 3
