"""What is found by its words, and what is kept for that."""

import pytest
from celery import signature
from django.db import connection
from django.test.utils import CaptureQueriesContext

from status import searching
from status.filters import Filters
from status.jobs import retry, start
from status.listing import Listing
from status.models import Job, SearchText
from status.models.search import words_of
from status.seeding import kinds
from status.sources.sweep import sweep
from status.states import State
from tests import tasks

pytestmark = pytest.mark.django_db


def found(words, scope="all"):
    """The titles of what a search finds."""
    return [job.title for job in Listing(scope, Filters.read({"q": words})).page(25).jobs]


def make(alice, **columns):
    return Job.objects.create(**{"task": "t", "title": "Orders of May", "owner": alice, **columns})


@pytest.mark.parametrize("words", ["orders", "ord may", "MAY", "órders", "orders-of/may"])
def test_a_job_is_found_by_the_beginnings_of_words(alice, words):
    make(alice)
    assert found(words) == ["Orders of May"]


@pytest.mark.parametrize("words", ["rders", "orders june", '"orders"x', "orders NOT may", "' OR zz=zz"])
def test_what_does_not_match_is_not_found(alice, words):
    make(alice)
    assert found(words) == []


@pytest.mark.parametrize("words", ["50% *", 'ma" OR "x', "ma:* & x", "(may", "a" * 300, "may\0"])
def test_nothing_that_is_typed_breaks_a_search(alice, words):
    make(alice)
    assert len(found(words)) <= 1


def test_a_job_is_found_by_its_id_arguments_and_error(alice):
    job = make(alice, signature={"args": ["/tmp/möbel-2026.csv"], "kwargs": {"region": {"name": "North"}}})
    Job.objects.advance(job.pk, State.FAILED, attempt=1, error="Row 17 has no amount", failure="error")
    for words in (
        str(job.pk),
        job.pk.hex,
        str(job.pk)[:8],
        str(job.pk)[:16].upper(),
        "mobel 2026",
        "north",
        "row 17 amount",
    ):
        assert found(words) == ["Orders of May"], words


def test_a_short_number_is_no_id(alice):
    job = make(alice)
    assert found(job.pk.hex[:5]) == []
    assert found(job.pk.hex[:6]) == ["Orders of May"]


def test_secrets_are_not_searched(alice):
    given = {"args": [], "kwargs": {"api_token": "tok777", "Password": "pass777", "name": "name777"}}
    make(alice, signature=given, params={"client_secret": {"a": "deep777"}})
    assert found("name777") == ["Orders of May"]
    for words in ("tok777", "pass777", "deep777"):
        assert found(words) == []


def test_an_error_that_is_gone_is_not_found_any_more(alice, monkeypatch):
    job = make(alice, signature=dict(signature("t")))
    Job.objects.advance(job.pk, State.FAILED, attempt=1, error="Disk full", failure="error")
    assert found("disk") == ["Orders of May"]
    retry(job)
    Job.objects.advance(job.pk, State.RUNNING, attempt=2)
    Job.objects.advance(job.pk, State.SUCCEEDED, attempt=2)
    assert found("disk") == []


def test_what_is_started_is_found_and_its_members_are_not(alice):
    from celery import chain

    start(chain(tasks.add.s(1, 2), tasks.add.s(3)), owner=alice, title="Sums")
    assert found("sums") == ["Sums"]
    assert SearchText.objects.count() == 1


def test_a_deleted_job_leaves_no_words(alice):
    make(alice).delete()
    assert found("orders") == []
    assert not SearchText.objects.exists()
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO status_searchtext_words(status_searchtext_words) VALUES ('integrity-check')"
            )


def test_a_search_is_among_what_one_may_see(alice, bob):
    make(alice)
    make(bob, title="Orders of Bob")
    assert found("orders", str(alice.pk)) == ["Orders of May"]


def test_a_job_costs_no_statement_more(alice, django_assert_num_queries):
    with django_assert_num_queries(1):
        make(alice)


def test_words_are_written_in_batches_by_an_index(alice, monkeypatch):
    monkeypatch.setattr(searching, "BATCH", 2)
    for number in range(5):
        make(alice, title=f"Orders {number}")
    Job.objects.update(is_indexed=False)
    searching.catch_up(batches=1)
    assert Job.objects.filter(is_indexed=True).count() == 2
    with CaptureQueriesContext(connection) as queries:
        searching.catch_up()
    plan = Job.objects.filter(is_indexed=False, parent=None).order_by("created_at", "pk")[:2].explain()
    assert "status_job_unindexed" in plan or "Seq Scan" in plan
    assert len(queries) <= 2 * 6 + 1
    assert list(SearchText.objects.order_by("pk").values_list("job__title", flat=True)) == [
        f"Orders {number}" for number in range(5)
    ]


def test_a_job_that_fails_while_its_words_are_written_is_written_again(alice, monkeypatch):
    job, of = make(alice), SearchText.of

    def fail_meanwhile(each):
        text = of(each)
        Job.objects.advance(job.pk, State.FAILED, attempt=1, error="Disk full", failure="error")
        return text

    monkeypatch.setattr(SearchText, "of", fail_meanwhile)
    searching.catch_up(batches=1)
    assert not Job.objects.get().is_indexed
    monkeypatch.undo()
    assert found("disk") == ["Orders of May"]


def test_the_sweep_writes_words(alice):
    make(alice)
    sweep()
    assert SearchText.objects.count() == 1


def test_words_are_bounded():
    job = Job(title="x", params={"text": " ".join(f"word{n}" for n in range(5000)), "long": "y" * 9000})
    words = words_of(job).split()
    assert len(words) < 250
    assert max(map(len, words)) <= 40


def test_the_demos_tasks_are_in_the_history():
    assert {"demo.tasks.profile_csv", "orders.tasks.import_orders"} <= {kind.task for kind in kinds()}


def test_what_the_setting_calls_secret_is_not_found(alice, settings):
    settings.STATUS = {"SECRET_NAMES": ["iban"]}
    job = Job(
        task="t", title="Payout", owner=alice, signature={"kwargs": {"iban": "DE1234", "bank": "Sparbank"}}
    )
    words = words_of(job).split()
    assert "sparbank" in words
    assert "de1234" not in words
