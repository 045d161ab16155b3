import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import zip_longest
from uuid import UUID, uuid4

import pytest
from celery import current_app
from django.core.checks import run_checks
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, InMemoryStorage
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.db.models import ProtectedError
from django.db.models.signals import post_delete
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from status import files, jobs
from status.models import Attachment, Delivery, Job, LogLine, Notification
from status.sources import prune as pruning
from status.sources.prune import Pruned, prune, would_prune
from status.states import LIVE, TERMINAL, State

pytestmark = pytest.mark.django_db

NOW = timezone.now()


@pytest.fixture(autouse=True)
def media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


def new(days=0.0, state=State.SUCCEEDED, **fields):
    """A job that ended so many days ago; not yet a row."""
    ended = NOW - timedelta(days=days)
    fields = {"created_at": ended, "finished_at": None if state in LIVE else ended} | fields
    return Job(task="t", title="T", state=state, **fields)


def make(days=0.0, state=State.SUCCEEDED, *, lines=0, contents=(), **fields):
    """A row of it, with lines and files."""
    job = new(days, state, line_count=lines, file_count=len(contents), **fields)
    job.save(force_insert=True)
    add_lines([job], lines)
    for number, content in enumerate(contents):
        role = Attachment.Role.OUTPUT if number else Attachment.Role.INPUT
        attachment = Attachment(job=job, role=role, name=f"{number}.txt", size=len(content))
        attachment.file.save(attachment.name, ContentFile(content))
    return job


def add_lines(owners, count):
    LogLine.objects.bulk_create(
        LogLine(job=job, number=number, attempt=1, at=NOW, level=20, text="x" * 100)
        for job in owners
        for number in range(count)
    )


def run(**options) -> Pruned:
    return sum(prune(**{"days": None, "keep": None} | options), Pruned())


def told(done, numbers):
    """What the command says of so many jobs, lines, files, bytes, notifications and messages."""
    text = "{}: jobs {}, log lines {}, files {} ({} bytes), notifications {}, messages {}\n"
    return text.format(done, *numbers)


def command(capsys, *options):
    call_command("prune_jobs", *options)
    return capsys.readouterr().out


def stored(media):
    return sorted(str(path.relative_to(media)) for path in media.rglob("*"))


def test_ended_jobs_go_by_age_with_their_lines_and_files(media):
    old = make(40, lines=3, contents=[b"abc", b"de"])
    young = make(20, lines=2, contents=[b"f"])
    pruned = run(days=30)
    assert (pruned.jobs, pruned.lines, pruned.files.files, pruned.files.bytes) == (1, 3, 2, 5)
    assert [job.pk for job in Job.objects.all()] == [young.pk]
    assert (LogLine.objects.count(), Attachment.objects.count()) == (2, 1)
    assert young.attachments.get().file.read() == b"f"
    assert not [name for name in stored(media) if str(old.pk) in name]
    assert run(days=30) == Pruned()


def test_a_job_whose_remote_work_is_still_to_be_cancelled_stays():
    owed = make(40, State.CANCELLED, on_cancel={"task": "t"})
    # What ended otherwise keeps its `on_cancel`, which nobody sends any more.
    make(40, State.SUCCEEDED, on_cancel={"task": "t"})
    make(40, State.CANCELLED)
    make(1)
    assert run(days=30, keep=1).jobs == 2
    assert Job.objects.filter(pk=owed.pk).exists()
    Job.objects.update(on_cancel=None)
    assert run(keep=1).jobs == 1


def test_ended_jobs_go_by_number():
    ages = [make(days) for days in (3, 1, 5, 2, 4)]
    assert run(keep=2).jobs == 3
    assert set(Job.objects.values_list("pk", flat=True)) == {ages[1].pk, ages[3].pk}
    assert run(keep=2).jobs == 0
    assert run(keep=9).jobs == 0


def test_of_jobs_that_ended_together_the_number_is_exact():
    Job.objects.bulk_create(new(1) for _ in range(7))
    assert run(keep=3, batch=2).jobs == 4
    assert Job.objects.count() == 3


def test_whichever_of_both_takes_more_decides():
    Job.objects.bulk_create(new(days) for days in range(1, 11))
    assert would_prune(days=4.5, keep=8).jobs == 6
    assert would_prune(days=8.5, keep=3).jobs == 7
    assert run(days=4.5, keep=8).jobs == 6
    assert run(days=100, keep=3).jobs == 1


@pytest.mark.parametrize("nothing", [None, 0])
def test_without_a_limit_all_stay(nothing):
    make(10_000)
    assert run(days=nothing, keep=nothing) == Pruned() == would_prune(days=nothing, keep=nothing)


def test_live_jobs_never_go():
    for state in State:
        make(500, state, heartbeat_at=NOW, next_at=NOW)
    assert run(days=0.001, keep=1).jobs == len(TERMINAL)
    assert set(Job.objects.values_list("state", flat=True)) == LIVE


def workflow(days=40.0, state=State.SUCCEEDED, **last):
    """A whole of two groups of two members, each with a line and a file; what is given is the last member's."""
    whole = make(days, state, canvas="chain", tally={"succeeded": 2})
    members = []
    for place in range(2):
        inner = make(days, canvas="group", root=whole, parent=whole, position=place)
        for number in range(2):
            fields = {"state": State.SUCCEEDED} | (last if place == number == 1 else {})
            more = {"root": whole, "parent": inner, "position": number, **fields}
            members.append(make(days, lines=1, contents=[b"abc"], **more))
    return whole, members


def test_a_workflow_goes_as_a_whole_with_the_files_of_its_members(media):
    whole, members = workflow()
    other, kept = workflow(3)
    expected = would_prune(days=30, keep=None)
    pruned = run(days=30)
    assert (pruned.jobs, pruned.lines, pruned.files.files, pruned.files.bytes) == (7, 4, 4, 12)
    assert pruned == expected
    assert not Job.objects.filter(root=whole).exists()
    assert Job.objects.filter(root=other).count() == 6
    gone = {str(job.pk) for job in members}
    assert not [name for name in stored(media) if any(pk in name for pk in gone)]
    assert [job.attachments.get().file.read() for job in kept] == [b"abc"] * 4


def test_members_do_not_go_before_their_whole(media):
    whole, _members = workflow(40)
    Job.objects.filter(pk=whole.pk).update(finished_at=NOW - timedelta(days=3))
    assert run(days=30) == Pruned() == would_prune(days=30, keep=None)
    # Nor are they counted among those that are kept.
    assert run(keep=1) == Pruned()
    make(50)
    assert run(keep=1).jobs == 1
    assert Job.objects.count() == 7


@pytest.mark.parametrize("state", sorted(LIVE))
def test_a_workflow_stays_while_a_member_moves(state):
    whole, members = workflow(state=state)
    Job.objects.filter(pk=whole.pk).update(state=State.SUCCEEDED, finished_at=NOW - timedelta(days=40))
    assert Job.objects.filter(pk=members[-1].pk).update(state=state) == 1
    assert run(days=30, keep=1) == Pruned() == would_prune(days=30, keep=None)
    assert Attachment.objects.count() == 4
    Job.objects.filter(pk=members[-1].pk).update(state=State.SUCCEEDED)
    assert run(days=30).jobs == 7


def test_a_workflow_stays_while_a_members_remote_work_is_to_be_cancelled():
    workflow(state=State.CANCELLED, on_cancel={"task": "t"})
    _whole, members = workflow()
    Job.objects.filter(pk=members[0].pk).update(state=State.CANCELLED, on_cancel={"task": "t"})
    # The first workflow's member has succeeded: its `on_cancel` is never sent.
    assert run(days=30).jobs == 7
    assert Job.objects.filter(pk=members[0].pk).exists()
    Job.objects.filter(pk=members[0].pk).update(on_cancel=None)
    assert run(days=30).jobs == 7


def test_a_workflow_of_which_a_member_begins_again_meanwhile_stays(monkeypatch):
    _whole, members = workflow(state=State.FAILED)
    remove = pruning._remove

    def retried_first(pks, limit):
        Job.objects.filter(pk=members[0].pk).update(state=State.QUEUED)
        return remove(pks, limit)

    monkeypatch.setattr(pruning, "_remove", retried_first)
    assert run(days=30) == Pruned()
    assert (Job.objects.count(), Attachment.objects.count()) == (7, 4)


def test_what_a_task_started_goes_with_it():
    whole = make(40)
    child = make(3, root=whole, parent=whole, contents=[b"a"])
    make(3, root=whole, parent=child)
    assert run(days=30).jobs == 3


def test_large_workflows_make_smaller_batches(monkeypatch):
    monkeypatch.setattr(pruning, "MOST_ROWS", 10)
    for days, members in [(50, 25), (49, 4), (48, 4), (47, 0)]:
        whole = make(days, canvas="group", tally={"succeeded": members} if members else {})
        Job.objects.bulk_create(
            new(days, root=whole, parent=whole, position=place) for place in range(members)
        )
    assert [batch.jobs for batch in prune(days=30, keep=None)] == [26, 11]


def test_what_is_retried_meanwhile_stays(monkeypatch):
    job = make(40, State.FAILED, lines=2, contents=[b"a"])
    remove = pruning._remove

    def retried_first(pks, limit):
        assert Job.objects.filter(pk=job.pk).reopen(held=False)
        return remove(pks, limit)

    monkeypatch.setattr(pruning, "_remove", retried_first)
    assert run(days=30) == Pruned()
    assert job.lines.count() == 2
    assert job.attachments.get().file.read() == b"a"


def test_when_the_rows_stay_the_files_stay(monkeypatch):
    job = make(40, lines=1, contents=[b"a"])

    def fail(self):
        raise DatabaseError("disk full")

    monkeypatch.setattr("status.models.queries.JobQuerySet.delete", fail, raising=False)
    with pytest.raises(DatabaseError):
        run(days=30)
    assert (Job.objects.count(), LogLine.objects.count(), Attachment.objects.count()) == (1, 1, 1)
    assert job.attachments.get().file.read() == b"a"


@pytest.mark.django_db(transaction=True)
def test_inside_a_transaction_it_refuses():
    from django.db import transaction

    make(40, contents=[b"a"])
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        run(days=30)
    assert Attachment.objects.get().file.read() == b"a"
    assert run(days=30).files.files == 1


def test_a_file_that_cannot_be_deleted_does_not_stop_the_rest(monkeypatch, caplog, media, capsys):
    bad, good = make(50, contents=[b"a"]), make(40, contents=[b"bc"])
    delete = FileSystemStorage.delete

    def refuse(self, name):
        if str(bad.pk) in name and name.endswith(".txt"):
            raise PermissionError(name)
        delete(self, name)

    monkeypatch.setattr(FileSystemStorage, "delete", refuse)
    with pytest.raises(CommandError, match="Could not be deleted, see the log: files 1"):
        call_command("prune_jobs")
    assert "jobs 2, log lines 0, files 1 (2 bytes)" in capsys.readouterr().out
    assert f"Job {bad.pk}: the file" in caplog.text
    assert not (media / "status" / str(good.pk)).exists()
    assert not Job.objects.exists()


def test_a_file_that_is_gone_already_is_no_error():
    job = make(40, contents=[b"a"])
    files.delete(job.attachments.all())
    assert run(days=30).files.failed == 0


def test_only_empty_folders_are_removed(media):
    job = make(40, contents=[b"a", b"b"])
    (media / "status" / str(job.pk) / "note.txt").write_text("by hand")
    run(days=30)
    assert stored(media) == ["status", f"status/{job.pk}", f"status/{job.pk}/note.txt"]


def test_a_file_kept_elsewhere_leaves_its_folder(media):
    (media / "reports").mkdir()
    (media / "reports" / "may.csv").write_text("a")
    Attachment.objects.create(job=make(40), name="may.csv", size=1, file="reports/may.csv")
    assert run(days=30).files.files == 1
    assert stored(media) == ["reports"]


def test_storages_without_folders_are_only_asked_for_files(monkeypatch):
    storage, deleted = InMemoryStorage(), []
    monkeypatch.setattr(Attachment._meta.get_field("file"), "storage", storage)
    monkeypatch.setattr(storage, "delete", deleted.append)
    job = make(40, contents=[b"a"])
    name = job.attachments.get().file.name
    run(days=30)
    assert deleted == [name]


@pytest.mark.parametrize("lines", [0, 200])
def test_a_batch_costs_the_same_however_many_lines_a_job_has(lines):
    for _ in range(20):
        make(40, lines=lines, contents=[b"a"])
    # Choose, BEGIN, lock, members, attachments, lines, attachments, words, deliveries, notifications, Django's deletion
    # of jobs (8), COMMIT.
    # Then the look for the next batch.
    with CaptureQueriesContext(connection) as queries:
        assert run(days=30).jobs == 20
    assert len(queries) == 20, [query["sql"][:90] for query in queries]


def test_two_thousand_jobs_go_in_bounded_queries_and_memory():
    owners = Job.objects.bulk_create(
        new(40 + number / 1000, traceback="x" * 20_000, line_count=20) for number in range(2000)
    )
    add_lines(owners, 20)
    tracemalloc.start()
    try:
        with CaptureQueriesContext(connection) as queries:
            batches = list(prune(days=30, keep=None, batch=250))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [batch.jobs for batch in batches] == [250] * 8
    assert sum(batch.lines for batch in batches) == 40_000
    assert len(queries) <= 8 * 21 + 1
    # The tracebacks of one batch alone are 5 MB.
    assert peak < 4_000_000, peak
    assert not LogLine.objects.exists()


def test_jobs_with_many_lines_make_smaller_batches(monkeypatch):
    monkeypatch.setattr(pruning, "MOST_ROWS", 10)
    for days, lines in [(50, 25), (49, 4), (48, 4), (47, 4), (46, 0)]:
        make(days, lines=lines)
    assert [batch.jobs for batch in prune(days=30, keep=None)] == [1, 2, 2]


def test_who_listens_to_signals_loads_no_lines(django_assert_max_num_queries):
    heard = []

    def listen(sender, instance, **kwargs):
        heard.append(sender)

    make(40, lines=50, contents=[b"a"])
    post_delete.connect(listen)
    try:
        with django_assert_max_num_queries(20):
            run(days=30)
    finally:
        post_delete.disconnect(listen)
    assert heard == [Job]


def test_jobs_that_other_apps_hold_stay_and_hold_nobody_else(monkeypatch, caplog, capsys):
    ages = [make(40 + number, lines=1, contents=[b"a"]) for number in range(9)]
    held = {ages[2].pk, ages[7].pk}
    delete = Job.objects.all().delete.__func__

    def protected(self):
        if held & {job.pk for job in self}:
            raise ProtectedError("An order refers to it.", set())
        return delete(self)

    monkeypatch.setattr("status.models.queries.JobQuerySet.delete", protected, raising=False)
    out = command(capsys, "--days", "30")
    assert "Deleted: jobs 7, log lines 7, files 7 (7 bytes)" in out
    assert "rows of other apps refer to them: jobs 2" in out
    assert set(Job.objects.values_list("pk", flat=True)) == held
    assert {a.file.read() for a in Attachment.objects.all()} == {b"a"}
    assert "An order refers to it." in caplog.text


def test_prunings_at_the_same_time_share_the_work():
    for number in range(10):
        make(40 + number, lines=1, contents=[b"a"])
    first, second = (prune(days=30, keep=None, batch=2) for _ in range(2))
    total = Pruned()
    for one, other in zip_longest(first, second, fillvalue=Pruned()):
        total += one + other
    assert (total.jobs, total.lines, total.files.files, total.files.failed) == (10, 10, 10, 0)


@pytest.mark.django_db(transaction=True)
def test_many_prunings_and_retries_at_once_do_no_harm(media):
    made = [make(40 + number, State.FAILED, lines=2, contents=[b"a"]) for number in range(60)]

    def prune_some(number):
        try:
            return run(days=30, batch=3 + number)
        finally:
            connection.close()

    def retry_some():
        try:
            return [job for job in made[::7] if Job.objects.filter(pk=job.pk).reopen(held=False)]
        finally:
            connection.close()

    with ThreadPoolExecutor(5) as threads:
        retried = threads.submit(retry_some)
        total = sum(threads.map(prune_some, range(4)), Pruned())
        wanted = retried.result()
    gone = len(made) - len(wanted)
    assert (total.jobs, total.lines, total.files.files) == (gone, gone * 2, gone)
    assert (total.files.failed, total.held) == (0, 0)
    assert LogLine.objects.count() == 2 * len(wanted)
    assert all(job.attachments.get().file.read() == b"a" for job in wanted)
    assert len(list((media / "status").iterdir())) == len(wanted)


def test_the_choice_reads_a_range_of_an_index():
    Job.objects.bulk_create(new(number / 10) for number in range(2000))
    Job.objects.bulk_create(new(state=State.RUNNING, heartbeat_at=NOW) for _ in range(100))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    limit = (NOW - timedelta(days=150), UUID(int=0))
    after = (NOW - timedelta(days=190), uuid4())
    choice = pruning._expired(limit, after).order_by("finished_at", "pk").values_list("finished_at", "pk")
    newest = pruning._ended().order_by("-finished_at", "-pk").values_list("finished_at", "pk")
    for query in (choice[:10], newest[10:11]):
        plan = query.explain()
        assert "status_job_ended" in plan, plan
        assert "TEMP B-TREE" not in plan, plan
        assert "Sort" not in plan, plan


def test_the_command_says_what_it_did(capsys, alice):
    old = make(40, lines=3, contents=[b"abc", b"de"])
    make(3)
    for job, days in [(old, 40), (None, 40), (None, 50), (None, 3)]:
        at = timezone.now() - timedelta(days=days)
        row = Notification.objects.create(owner=alice, job=job, title="T", created_at=at)
        Delivery.objects.create(notification=row, user=alice, channel="email")
    assert command(capsys, "--dry-run") == told("Would delete", (1, 3, 2, 5, 1, 2))
    assert Job.objects.count() == 2
    assert command(capsys) == told("Deleted", (1, 3, 2, 5, 1, 2))
    assert command(capsys) == told("Deleted", (0,) * 6)


def test_options_come_before_settings(settings, capsys):
    settings.STATUS = {"KEEP_DAYS": 5, "KEEP_JOBS": 3}
    for days in (1, 2, 3, 6, 7):
        make(days)
    assert "jobs 0," in command(capsys, "--days=0", "--keep=0")
    assert "jobs 1," in command(capsys, "--days=6.5", "--keep=0")
    assert "jobs 1," in command(capsys, "--keep=0", "--batch=1")
    assert "jobs 1," in command(capsys, "--keep=2")
    assert "jobs 0," in command(capsys)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--days", "soon"], "--days takes a number, not 'soon'."),
        (["--days", "-1"], "The days to keep jobs are a number from 0 .* not -1.0."),
        (["--days", "nan"], "not nan"),
        (["--days", "inf"], "not inf"),
        (["--days", "1e9"], "to 36500, not 1000000000.0"),
        (["--keep", "1.5"], "--keep takes a whole number, not '1.5'."),
        (["--keep", "-1"], "The jobs to keep are a whole number from 0 .* not -1."),
        (["--batch", "x"], "--batch takes a whole number, not 'x'."),
        (["--batch", "0"], "A batch is a whole number from 1 to 5000, not 0."),
        (["--batch", "5001", "--dry-run"], "not 5001"),
    ],
)
def test_bad_input_is_told_and_deletes_nothing(options, says):
    make(40)
    with pytest.raises(CommandError, match=says) as caught:
        call_command("prune_jobs", *options)
    assert caught.value.returncode == 1
    assert Job.objects.exists()


@pytest.mark.parametrize(
    "status", [{"KEEP_DAYS": -1}, {"KEEP_DAYS": "30"}, {"KEEP_JOBS": 2.5}, {"KEEP_JOBS": True}]
)
def test_bad_settings_are_told_and_delete_nothing(settings, status):
    settings.STATUS = {"SITE_URL": "https://jobs.example.org"} | status
    make(40)
    assert [p.id for p in run_checks() if p.id and p.id.startswith("status")] == ["status.E003"]
    with pytest.raises(ValueError, match="to keep"):
        pruning.prune_jobs()
    with pytest.raises(CommandError, match="to keep"):
        call_command("prune_jobs")
    assert Job.objects.exists()


def test_a_database_that_refuses_is_told(monkeypatch):
    def fail(*args):
        raise DatabaseError("no such table")

    monkeypatch.setattr(pruning, "_limit", fail)
    with pytest.raises(CommandError, match="After 0 jobs the database refused: no such table"):
        call_command("prune_jobs")


def test_beat_prunes_by_the_settings(settings):
    current_app.loader.import_default_modules()
    assert current_app.conf.beat_schedule["status.prune"]["task"] == "status.prune"
    settings.STATUS = {"KEEP_DAYS": 2, "KEEP_JOBS": 1}
    kept = make(0.5)
    make(1)
    current_app.tasks["status.prune"]()
    assert Job.objects.get() == kept


def test_beats_run_has_an_end_and_the_next_goes_on(monkeypatch):
    monkeypatch.setattr(pruning, "BATCH", 1)
    monkeypatch.setattr(pruning.prune, "__kwdefaults__", {"batch": 1})
    monkeypatch.setattr(pruning, "MOST_SECONDS", -1.0)
    make(40), make(41)
    pruning.prune_jobs()
    assert Job.objects.count() == 1
    pruning.prune_jobs()
    assert not Job.objects.exists()


def orphan(media, job_id, *, hours, name="rows.csv"):
    import os

    folder = media / "status" / str(job_id) / str(uuid4())
    folder.mkdir(parents=True)
    (folder / name).write_text("abc")
    then = (timezone.now() - timedelta(hours=hours)).timestamp()
    for path in (folder / name, folder, folder.parent):
        os.utime(path, (then, then))
    return folder / name


def test_files_without_a_job_go_when_asked(media, capsys):
    job = make(3, contents=[b"a"])
    lost, fresh = orphan(media, uuid4(), hours=30), orphan(media, uuid4(), hours=3)
    theirs = orphan(media, "thumbnails", hours=3000)
    command(capsys)
    assert lost.exists()
    assert "files without a job 1 (3 bytes)" in command(capsys, "--orphans", "--dry-run")
    assert lost.exists()
    assert "files without a job 1 (3 bytes)" in command(capsys, "--orphans")
    assert not lost.parent.parent.exists()
    assert fresh.exists()
    assert theirs.exists()
    assert job.attachments.get().file.read() == b"a"


def test_without_any_file_there_are_no_orphans(capsys):
    assert command(capsys, "--orphans") == told("Deleted", (0,) * 6)


def test_a_storage_that_cannot_list_says_so(monkeypatch):
    def listdir(self, path):
        raise NotImplementedError("no listdir()")

    monkeypatch.setattr(FileSystemStorage, "listdir", listdir)
    with pytest.raises(CommandError, match=r"cannot list its files: no listdir\(\)"):
        call_command("prune_jobs", "--orphans")


@pytest.mark.parametrize("cause", ["start", "rows", "double click"])
def test_a_start_that_fails_leaves_no_file(media, alice, monkeypatch, client, cause):
    from django.core.files.uploadedfile import SimpleUploadedFile

    def fail(*args, **options):
        raise DatabaseError("disk full")

    monkeypatch.setattr("celery.canvas.Signature.apply_async", lambda self, **options: None)
    client.force_login(alice)

    def post():
        upload = SimpleUploadedFile("people.csv", b"name,age\nAda,36\n")
        return client.post("/jobs/new/profile-csv/", {"file": upload, "start_key": "k"})

    if cause == "double click":
        post()
        kept = stored(media)
        assert len(kept) == 4
        post()
        assert stored(media) == kept
        return
    target = (jobs, "start") if cause == "start" else (type(Attachment.objects), "bulk_create")
    monkeypatch.setattr(*target, fail)
    with pytest.raises(DatabaseError):
        post()
    assert stored(media) == ["status"]
    assert not Job.objects.exists()
