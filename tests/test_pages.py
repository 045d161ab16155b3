"""The pages, through Django's test client."""

import re

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from status.broadcast import broadcast
from status.models import Attachment, Job, LogLine
from status.states import State

NO_JOB = "7ef30d3d-246a-4614-9373-f7be4171eb95"
CSV = b"name,age\nAda,36\nGrace,85\n"


@pytest.fixture
def job(alice):
    return Job.objects.create(task="t", title="Orders of May", owner=alice)


@pytest.fixture
def sent(monkeypatch):
    messages = []
    monkeypatch.setattr(
        "celery.canvas.Signature.apply_async",
        lambda self, **options: messages.append((self.task, dict(self.kwargs))),
    )
    return messages


def upload(content=CSV, name="people.csv"):
    return SimpleUploadedFile(name, content, content_type="text/csv")


PRIVATE = [
    "/",
    "/jobs/",
    "/jobs/new/",
    "/jobs/new/profile-csv/",
    f"/jobs/{NO_JOB}/",
    f"/jobs/{NO_JOB}/log/",
]


@pytest.mark.parametrize("path", PRIVATE)
def test_a_visitor_is_sent_to_the_login(client, db, path):
    response = client.get(path)
    assert (response.status_code, response.url) == (302, f"/login/?next={path}")


@pytest.mark.parametrize(
    "path", ["/nothing/", f"/jobs/{NO_JOB}/", "/jobs/new/nothing/", "/jobs/schedules/9999/"]
)
def test_a_page_that_does_not_exist_is_on_no_tab(client, operator, path):
    client.force_login(operator)
    response = client.get(path)
    assert response.status_code in {403, 404}
    assert 'class="tab"' in response.text
    assert "aria-current" not in response.text


def test_a_visitor_may_see_the_status_page_and_the_health(client, db):
    broadcast("site-status", {"status": "RUNNING"})
    response = client.get("/status/")
    assert response.status_code == 200
    assert b"Current status:" in response.content
    assert re.search(rb'<span id="live-[0-9a-f]+"[^>]*>\s*(<[^>]+>\s*)*RUNNING', response.content)
    assert b'hx-ext="ws"' in response.content
    assert client.get("/healthz").content == b"ok\n"


def test_the_list_shows_my_jobs_newest_first(client, alice, bob, job):
    Job.objects.create(task="t", title="Bob's", owner=bob)
    newer = Job.objects.create(task="t", title="Orders of June", owner=alice)
    client.force_login(alice)
    text = client.get("/").content.decode()
    assert re.findall(r'data-job="([^"]+)"', text) == [str(newer.pk), str(job.pk)]
    assert "Bob&#x27;s" not in text


def test_an_operator_sees_everybodys_and_whose_they_are(client, operator, job):
    client.force_login(operator)
    text = client.get("/").content.decode()
    assert f'data-job="{job.pk}"' in text


def test_the_list_costs_a_fixed_number_of_queries(client, alice, django_assert_max_num_queries):
    client.force_login(alice)
    Job.objects.bulk_create(Job(task="t", title=str(n), owner=alice) for n in range(60))
    client.get("/")
    with django_assert_max_num_queries(15):
        text = client.get("/").content.decode()
    assert text.count("data-job=") == 25
    assert "after=" in text


def test_an_empty_list_says_so(client, alice):
    client.force_login(alice)
    assert b"/jobs/new/" in client.get("/").content


@pytest.mark.parametrize("path", ["", "log/", "cancellation/"])
def test_someone_elses_job_does_not_exist(client, bob, job, path):
    client.force_login(bob)
    url = f"/jobs/{job.pk}/{path}"
    response = client.post(url) if path == "cancellation/" else client.get(url)
    assert response.status_code == 404


def test_a_viewer_may_not_cancel(client, django_user_model, job):
    from django.contrib.auth.models import Permission

    viewer = django_user_model.objects.create_user("vera")
    viewer.user_permissions.add(Permission.objects.get(codename="view_job"))
    client.force_login(viewer)
    page = client.get(f"/jobs/{job.pk}/")
    assert page.status_code == 200
    assert b"cancellation" not in page.content
    assert client.post(f"/jobs/{job.pk}/cancellation/").status_code == 403


def test_cancel_with_and_without_htmx(client, alice, job):
    client.force_login(alice)
    response = client.post(f"/jobs/{job.pk}/cancellation/")
    assert (response.status_code, response.url) == (302, f"/jobs/{job.pk}/")
    assert client.post(f"/jobs/{job.pk}/cancellation/", headers={"HX-Request": "true"}).status_code == 204
    job.refresh_from_db()
    assert job.state == State.CANCELLED


def test_a_get_cancels_nothing(client, alice, job):
    client.force_login(alice)
    response = client.get(f"/jobs/{job.pk}/cancellation/")
    assert (response.status_code, response.url) == (302, f"/jobs/{job.pk}/")
    job.refresh_from_db()
    assert job.state == State.QUEUED


def test_cancel_needs_the_csrf_token(alice, job):
    from django.test import Client

    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    assert strict.post(f"/jobs/{job.pk}/cancellation/").status_code == 403


def test_the_traceback_is_for_staff(client, alice, operator, job):
    Job.objects.filter(pk=job.pk).update(
        state=State.FAILED, failure="error", error="bad header", traceback="SECRET = 42"
    )
    client.force_login(alice)
    text = client.get(f"/jobs/{job.pk}/").content.decode()
    assert "bad header" in text
    assert "SECRET" not in text
    client.force_login(operator)
    assert "SECRET = 42" in client.get(f"/jobs/{job.pk}/").content.decode()


def test_what_a_user_wrote_is_escaped(client, alice):
    job = Job.objects.create(
        task="t",
        title='<img src=x onerror="alert(1)">',
        owner=alice,
        state=State.FAILED,
        error="<script>alert(2)</script>",
    )
    LogLine.objects.create(job=job, attempt=1, number=1, at=timezone.now(), level=20, text="<b>bold</b>")
    client.force_login(alice)
    text = client.get(f"/jobs/{job.pk}/").content.decode()
    for raw in ("<img src=x", "<script>alert", "<b>bold"):
        assert raw not in text


def test_a_page_has_one_socket_and_reloads_without_javascript_only_while_something_moves(client, alice, job):
    client.force_login(alice)
    text = client.get(f"/jobs/{job.pk}/").content.decode()
    assert text.count("ws-connect=") == 1
    assert '<noscript><meta http-equiv="refresh"' in re.sub(r">\s+<", "><", text)
    Job.objects.filter(pk=job.pk).update(state=State.SUCCEEDED)
    text = client.get(f"/jobs/{job.pk}/").content.decode()
    # For the bell.
    assert text.count("ws-connect=") == 1
    assert 'http-equiv="refresh"' not in text


def test_what_testers_look_for_is_there(client, alice, job):
    client.force_login(alice)
    text = client.get(f"/jobs/{job.pk}/").content.decode()
    assert 'data-job-state="queued"' in text
    assert "<progress" in text
    assert re.search(r'<ol[^>]* id="job-log"|<ol id="job-log"', text)


def test_the_frame_over_http_holds_what_the_socket_sends(client, alice, job, open_page):
    page = open_page(f"/jobs/{job.pk}/", alice)
    client.force_login(alice)
    Job.objects.filter(pk=job.pk).update(state=State.RUNNING, progress=0.42)
    response = client.get("/jobs/frame/", {"view": page.view})
    text = response.content.decode()
    assert 'data-job-state="running"' in text
    assert 'id="job-log" hx-swap-oob="innerHTML"' in text
    assert 'hx-trigger="every 5s"' in text
    assert response["Cache-Control"].startswith("max-age=0, no-cache, no-store")


@pytest.mark.parametrize("who", ["bob", "nobody", "forger"])
def test_the_frame_over_http_is_refused_like_the_socket(client, alice, bob, job, open_page, who):
    page = open_page(f"/jobs/{job.pk}/", alice)
    if who != "nobody":
        client.force_login(bob if who == "bob" else alice)
    view = page.view[:-2] if who == "forger" else page.view
    text = client.get("/jobs/frame/", {"view": view}).content.decode()
    assert "Orders of May" not in text
    assert "data-job-state" not in text
    assert 'id="live-beat"' in text
    assert "hx-trigger" not in text


def test_starting_answers_with_the_jobs_page(client, alice, sent, django_capture_on_commit_callbacks):
    client.force_login(alice)
    with django_capture_on_commit_callbacks(execute=True):
        response = client.post("/jobs/new/profile-csv/", {"file": upload(), "start_key": "k1"}, follow=True)
    job = Job.objects.get()
    assert response.redirect_chain == [(f"/jobs/{job.pk}/", 302)]
    attachment = Attachment.objects.get()
    assert (attachment.role, attachment.name, attachment.size) == ("input", "people.csv", len(CSV))
    assert attachment.file.read() == CSV
    assert sent == [("demo.tasks.profile_csv", {"file": str(attachment.pk)})]
    assert (job.owner, job.startable) == (alice, "profile-csv")
    assert "people.csv" in job.title


def test_starting_with_htmx_leads_there_too(client, alice, sent):
    client.force_login(alice)
    response = client.post("/jobs/new/profile-csv/", {"file": upload()}, headers={"HX-Request": "true"})
    assert response["HX-Redirect"] == Job.objects.get().get_absolute_url()


def test_a_double_click_starts_one_job(client, alice, sent):
    client.force_login(alice)
    for _ in range(2):
        client.post("/jobs/new/profile-csv/", {"file": upload(), "start_key": "same"})
    assert Job.objects.count() == 1 == Attachment.objects.count()


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "empty"), (b"PK\x03\x04" + b"\x00" * 100, "zip archive"), (b"\x00\x01\x02" * 50, "binary")],
)
def test_bad_files_get_a_message_at_the_form(client, alice, content, says):
    client.force_login(alice)
    response = client.post("/jobs/new/profile-csv/", {"file": upload(content)})
    assert response.status_code == 200
    assert not Job.objects.exists()
    error = re.search(r'aria-invalid="true"', response.content.decode())
    assert error
    assert says in response.content.decode().lower()


def test_a_missing_file_gets_a_message(client, alice):
    client.force_login(alice)
    response = client.post("/jobs/new/profile-csv/")
    assert b"This field is required." in response.content


def test_unknown_startables_and_missing_rights(client, alice, monkeypatch):
    from dataclasses import replace

    from status.registry import startables

    client.force_login(alice)
    assert client.get("/jobs/new/nothing/").status_code == 404
    entry = replace(startables["profile-csv"], permission="status.delete_job")
    monkeypatch.setitem(startables, "profile-csv", entry)
    assert client.get("/jobs/new/profile-csv/").status_code == 403
    assert b"profile-csv" not in client.get("/jobs/new/").content


@pytest.fixture
def failed(alice):
    job = Job.objects.create(
        task="demo.tasks.profile_csv",
        title="Profile a CSV: people.csv",
        owner=alice,
        startable="profile-csv",
        state=State.FAILED,
        signature={"task": "demo.tasks.profile_csv", "args": [], "kwargs": {"file": "x"}, "options": {}},
    )
    attachment = Attachment(job=job, field="file", role="input", name="people.csv", size=len(CSV))
    attachment.file.save("people.csv", ContentFile(CSV), save=True)
    return job


def test_a_failed_job_is_retried_with_and_without_htmx(client, alice, failed, sent):
    client.force_login(alice)
    assert b"data-retriable" in client.get(failed.get_absolute_url()).content
    response = client.post(f"/jobs/{failed.pk}/retry/", headers={"HX-Request": "true"})
    assert response["HX-Refresh"] == "true"
    failed.refresh_from_db()
    assert (failed.state, failed.attempt) == (State.QUEUED, 2)
    response = client.post(f"/jobs/{failed.pk}/retry/")
    assert (response.status_code, response.url) == (302, failed.get_absolute_url())
    failed.refresh_from_db()
    assert failed.attempt == 2


def test_retry_is_for_who_may_act(client, bob, failed, django_user_model):
    client.force_login(bob)
    assert client.post(f"/jobs/{failed.pk}/retry/").status_code == 404
    from django.contrib.auth.models import Permission

    viewer = django_user_model.objects.create_user("vera")
    viewer.user_permissions.add(Permission.objects.get(codename="view_job"))
    client.force_login(viewer)
    assert b"/retry/" not in client.get(failed.get_absolute_url()).content
    assert client.post(f"/jobs/{failed.pk}/retry/").status_code == 403
    failed.refresh_from_db()
    assert failed.state == State.FAILED


def test_retry_while_another_holds_the_key_is_refused_with_words(client, alice, failed):
    Job.objects.filter(pk=failed.pk).update(key="k")
    Job.objects.create(task="t", title="T", owner=alice, key="k")
    client.force_login(alice)
    response = client.post(f"/jobs/{failed.pk}/retry/")
    assert response.status_code == 409
    assert b"same key" in response.content


def test_running_again_uses_the_same_file_unless_another_is_given(client, alice, failed, sent):
    client.force_login(alice)
    assert f"?again={failed.pk}" in client.get(failed.get_absolute_url()).content.decode()
    form = client.get(f"/jobs/new/profile-csv/?again={failed.pk}").content.decode()
    assert "people.csv" in form
    assert 'name="again"' in form
    client.post("/jobs/new/profile-csv/", {"again": str(failed.pk)})
    other = client.post(
        "/jobs/new/profile-csv/", {"again": str(failed.pk), "file": upload(b"a,b\n1,2\n", "other.csv")}
    )
    assert other.status_code == 302
    second, first = Job.objects.exclude(pk=failed.pk).order_by("-created_at")
    assert first.attachments.get().file.read() == CSV
    assert (second.attachments.get().name, second.attachments.get().file.read()) == (
        "other.csv",
        b"a,b\n1,2\n",
    )


@pytest.mark.parametrize("again", ["nonsense", NO_JOB])
def test_running_again_what_is_not_there_is_a_plain_form(client, alice, again):
    client.force_login(alice)
    response = client.get("/jobs/new/profile-csv/", {"again": again})
    assert response.status_code == 200
    assert b'name="again"' not in response.content


def test_running_someone_elses_again_gives_nothing_away(client, bob, failed):
    client.force_login(bob)
    response = client.get("/jobs/new/profile-csv/", {"again": str(failed.pk)})
    assert b"people.csv" not in response.content
    response = client.post("/jobs/new/profile-csv/", {"again": str(failed.pk)})
    assert b"This field is required." in response.content


def test_files_are_downloads_for_who_may_see_the_job(client, alice, bob, job):
    attachment = Attachment.objects.create(
        job=job, name="évil.html", size=7, file=ContentFile(b"<b>x</b>", "x.html")
    )
    client.force_login(alice)
    response = client.get(attachment.get_absolute_url())
    assert b"".join(response.streaming_content) == b"<b>x</b>"
    assert response["Content-Disposition"].startswith("attachment")
    assert response["Content-Type"] == "application/octet-stream"
    attachment.file.storage.delete(attachment.file.name)
    assert client.get(attachment.get_absolute_url()).status_code == 404
    client.force_login(bob)
    assert client.get(attachment.get_absolute_url()).status_code == 404


def test_the_whole_log_is_a_file(client, alice, job, settings):
    settings.STATUS = {"LOG_TAIL": 3}
    LogLine.objects.bulk_create(
        LogLine(job=job, attempt=1, number=n, at=timezone.now(), level=30, text=f"line {n}")
        for n in range(1, 11)
    )
    client.force_login(alice)
    text = b"".join(client.get(f"/jobs/{job.pk}/log/").streaming_content).decode()
    assert [line.split("\t")[2] for line in text.splitlines()] == [f"line {n}" for n in range(1, 11)]
    assert "line 7" not in client.get(f"/jobs/{job.pk}/").content.decode()


def test_the_policy_is_strict_on_every_page(client, alice, job):
    client.force_login(alice)
    for path in (
        "/",
        "/jobs/new/",
        "/jobs/new/profile-csv/",
        f"/jobs/{job.pk}/",
        "/status/",
        "/admin/login/",
        "/nothing/",
    ):
        policy = client.get(path)["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "style-src 'self'" in policy
        assert "unsafe" not in policy


def test_the_admin_shows_jobs_and_changes_none(client, job, django_user_model):
    client.force_login(django_user_model.objects.create_superuser("root"))
    listed = client.get(reverse("admin:status_job_changelist"))
    assert b"Orders of May" in listed.content
    change = client.get(reverse("admin:status_job_change", args=[job.pk]))
    assert change.status_code == 200
    assert b'name="_save"' not in change.content
    assert client.get(reverse("admin:status_job_add")).status_code == 403
    for name in ("django_celery_beat_periodictask_changelist", "django_celery_results_taskresult_changelist"):
        assert client.get(reverse(f"admin:{name}")).status_code == 200


def test_login_and_logout(client, alice):
    response = client.post("/login/", {"username": "alice", "password": "alice"})
    assert (response.status_code, response.url) == (302, "/")
    assert client.post("/logout/").url == "/login/"
    assert client.get("/").status_code == 302
