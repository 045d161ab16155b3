"""HTTP for programs, asked in this process."""

import ast
import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.test import Client
from django.utils import timezone

from status.models import Attachment, Job, LogLine, Token
from status.programs.wire import describe
from status.states import State
from tests.processes import PROJECT
from tests.programs.conftest import program_of

pytestmark = pytest.mark.django_db


def post(client, path, body=None, **headers):
    return client.post(path, json.dumps(body or {}), content_type="application/json", headers=headers)


def is_problem(response, status, field=None):
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["detail"]
    if field is not None:
        assert [error["field"] for error in problem["errors"]] == [field]
    return problem


@pytest.fixture
def job(alice):
    return Job.objects.create(task="t", title="T", owner=alice, state=State.RUNNING, progress=0.5)


# -- who may ---------------------------------------------------------------------------------------------------


def test_without_a_session_or_token_nothing_is_answered(client, job):
    for path in ("/api/jobs/", f"/api/jobs/{job.pk}", f"/api/jobs/{job.pk}/log", f"/api/jobs/{job.pk}/files"):
        response = client.get(path)
        is_problem(response, 401)
        assert response["WWW-Authenticate"] == "Bearer"
    is_problem(post(client, "/api/jobs/"), 401)


def test_a_wrong_token_is_refused_also_beside_a_good_session(client, alice):
    client.force_login(alice)
    assert client.get("/api/jobs/").status_code == 200
    is_problem(client.get("/api/jobs/", headers={"Authorization": "Bearer status_wrong"}), 401)


def test_a_revoked_token_and_one_of_a_person_who_left_are_refused(alice):
    program = program_of(alice)
    token = Token.objects.get()
    assert program.get("/api/jobs/").status_code == 200
    token.revoke()
    is_problem(program.get("/api/jobs/"), 401)
    Token.objects.update(revoked_at=None)
    alice.is_active = False
    alice.save()
    is_problem(program.get("/api/jobs/"), 401)


def test_a_token_that_may_read_does_not_act(alice, job, startables):
    reader = program_of(alice, Token.Scope.READ)
    assert reader.get(f"/api/jobs/{job.pk}").status_code == 200
    for path in (f"/api/jobs/{job.pk}/cancellation", f"/api/jobs/{job.pk}/retry"):
        assert "may only read" in is_problem(post(reader, path), 403)["detail"]
    start = {"job": "count-rows", "params": {"count": 1}}
    is_problem(post(reader, "/api/jobs/", start), 403)
    assert Job.objects.get().cancel_requested_at is None


def test_what_a_session_changes_needs_the_csrf_token(alice, job):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    path = f"/api/jobs/{job.pk}/cancellation"
    assert "CSRF" in is_problem(post(browser, path), 403)["detail"]
    browser.get("/jobs/tokens/")
    token = browser.cookies["csrftoken"].value
    assert post(browser, path, X_CSRFToken=token).status_code == 202
    assert browser.get(f"/api/jobs/{job.pk}").status_code == 200


def test_a_token_needs_no_csrf_token(alice, job):
    program = program_of(alice)
    program.handler.enforce_csrf_checks = True
    assert post(program, f"/api/jobs/{job.pk}/cancellation").status_code == 202


@pytest.mark.parametrize("path", ["", "/log", "/files", "/files/{other}", "/cancellation", "/retry"])
def test_what_one_may_not_see_does_not_exist(bob, job, path):
    program = program_of(bob)
    act = post if path in ("/cancellation", "/retry") else lambda client, path: client.get(path)
    strange = is_problem(act(program, f"/api/jobs/{job.pk}{path.format(other=uuid4())}"), 404)
    none = is_problem(act(program, f"/api/jobs/{uuid4()}{path.format(other=uuid4())}"), 404)
    assert strange == none


def test_an_operator_sees_all_and_a_viewer_does_not_act(operator, bob, job, django_user_model):
    assert [found["id"] for found in program_of(operator).get("/api/jobs/").json()["jobs"]] == [str(job.pk)]
    assert program_of(bob).get("/api/jobs/").json()["jobs"] == []
    operator.user_permissions.filter(codename="change_job").delete()
    operator.user_permissions.set(operator.user_permissions.filter(codename="view_job"))
    is_problem(post(program_of(operator), f"/api/jobs/{job.pk}/cancellation"), 403)


def test_that_a_token_was_used_is_noted_once_a_minute(program, django_assert_num_queries):
    program.get("/api/jobs/")
    used = Token.objects.get().last_used_at
    assert timezone.now() - used < timedelta(seconds=10)
    # The token with its user, the permissions (two), the jobs.
    with django_assert_num_queries(4):
        program.get("/api/jobs/")
    assert Token.objects.get().last_used_at == used
    Token.objects.update(last_used_at=used - timedelta(minutes=2))
    program.get("/api/jobs/")
    assert Token.objects.get().last_used_at > used - timedelta(seconds=1)


# -- one job ---------------------------------------------------------------------------------------------------


def test_a_job_has_its_version_as_etag(program, job):
    response = program.get(f"/api/jobs/{job.pk}")
    found = response.json()
    assert (found["state"], found["progress"], found["over"], found["owner"]) == (
        "running",
        0.5,
        False,
        str(job.owner_id),
    )
    assert response["ETag"] == f'"{found["version"]}"'
    again = program.get(f"/api/jobs/{job.pk}", headers={"If-None-Match": response["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    weak = program.get(f"/api/jobs/{job.pk}", headers={"If-None-Match": f'"x", W/{response["ETag"]}'})
    assert weak.status_code == 304
    Job.objects.update(progress=0.6)
    newer = program.get(f"/api/jobs/{job.pk}", headers={"If-None-Match": response["ETag"]})
    assert newer.status_code == 200
    assert newer["ETag"] != response["ETag"]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json", "application/json"),
        ("application/json, text/html;q=0.9", "application/json"),
        ("text/html;q=0.5, application/*;q=0.8", "application/json"),
        ("application/json;q=0.8, text/html", "text/html"),
        ("text/html, application/json;q=0", "text/html"),
        ("application/json;q=0, */*;q=0.1", "text/html"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("*/*", "text/html"),
        ("image/png", "text/html"),
        (None, "text/html"),
    ],
)
def test_the_page_of_a_job_is_json_for_who_prefers_that(client, alice, job, accept, kind):
    client.force_login(alice)
    page = client.get(job.get_absolute_url(), headers={"Accept": accept} if accept else {})
    assert page["Content-Type"].partition(";")[0] == kind
    assert "Accept" in [name.strip() for name in page["Vary"].split(",")]
    if kind == "application/json":
        api = client.get(f"/api/jobs/{job.pk}")
        assert page.json() == api.json()
        assert page["ETag"] == api["ETag"]


def test_the_page_is_json_for_a_token_too_with_the_same_rules(client, program, bob, job):
    json_ = {"Accept": "application/json"}
    path = job.get_absolute_url()
    answer = program.get(path, headers=json_)
    assert answer.json()["id"] == str(job.pk)
    same = program.get(path, headers=json_ | {"If-None-Match": answer["ETag"]})
    assert (same.status_code, same.content, same["ETag"]) == (304, b"", answer["ETag"])
    assert {"Accept", "Authorization", "Cookie"} <= {name.strip() for name in same["Vary"].split(",")}
    is_problem(client.get(path, headers=json_), 401)
    is_problem(program_of(bob).get(path, headers=json_), 404)
    # A page is opened by a login, as ever.
    assert program.get(path).status_code == 302
    assert client.post(path, headers=json_).status_code == 405


def test_every_live_field_changes_the_version(job):
    first = describe(job).version
    for name, value in {
        "cancel_requested_at": timezone.now(),
        "result": {"a": 1},
        "error": "x",
        "line_count": 3,
        "tally": {"running": 1},
    }.items():
        changed = Job.objects.get(pk=job.pk)
        setattr(changed, name, value)
        assert describe(changed).version != first, name
    assert describe(Job.objects.get(pk=job.pk)).version == first


def test_a_wait_of_zero_and_one_for_what_has_ended_answer_at_once(program, job):
    assert program.get(f"/api/jobs/{job.pk}?wait=0").status_code == 200
    Job.objects.update(state=State.SUCCEEDED, result={"sum": 3})
    response = program.get(f"/api/jobs/{job.pk}?wait=60")
    assert response.json()["result"] == {"sum": 3}


@pytest.mark.parametrize("wait", ["61", "-1", "x", "1e1", "٣", ""])
def test_a_wait_that_is_none_is_refused(program, job, wait):
    is_problem(program.get(f"/api/jobs/{job.pk}", {"wait": wait}), 422, "wait")


def test_a_wait_that_cannot_be_is_refused_and_the_job_is_told_without(program, job, monkeypatch, caplog):
    def no_hub():
        raise ConnectionError("no Redis")

    monkeypatch.setattr("status.programs.views.get_hub", no_hub)
    is_problem(program.get(f"/api/jobs/{job.pk}?wait=1"), 503)
    assert "no Redis" in caplog.text
    assert program.get(f"/api/jobs/{job.pk}").status_code == 200


def test_the_traceback_is_not_told(program, job):
    Job.objects.update(state=State.FAILED, error="No such file", traceback="SECRET", failure="error")
    response = program.get(f"/api/jobs/{job.pk}")
    assert response.json()["error"] == "No such file"
    assert b"SECRET" not in response.content


# -- lists -----------------------------------------------------------------------------------------------------


def test_pages_of_jobs_follow_each_other_without_gap_though_more_come(program, alice):
    at = timezone.now()
    made = [
        Job.objects.create(task="t", title=str(n), owner=alice, created_at=at - timedelta(seconds=n // 3))
        for n in range(10)
    ]
    expected = [str(job.pk) for job in sorted(made, key=lambda job: (job.created_at, job.pk), reverse=True)]
    found, after = [], None
    while True:
        page = program.get("/api/jobs/", {"limit": 4} | ({"after": after} if after else {})).json()
        found += [job["id"] for job in page["jobs"]]
        Job.objects.create(task="t", title="new", owner=alice)
        after = page["next"]
        if after is None:
            break
    assert found == expected


def test_jobs_are_listed_by_state(program, alice, job):
    Job.objects.create(task="t", title="Q", owner=alice)
    Job.objects.create(task="t", title="F", owner=alice, state=State.FAILED)
    page = program.get("/api/jobs/?state=queued&state=failed").json()
    assert {found["title"] for found in page["jobs"]} == {"Q", "F"}
    is_problem(program.get("/api/jobs/?state=broken"), 422, "state")


@pytest.mark.parametrize("after", ["", "x", "é", "W10", "bnVsbA", "WyIyMDI2LTAxLTAxVDAwOjAwOjAwIiwieCJd"])
def test_an_after_that_is_none_is_refused(program, after):
    is_problem(program.get("/api/jobs/", {"after": after}), 422, "after")


def test_members_are_told_by_their_id_and_not_in_the_list(program, alice, job):
    member = Job.objects.create(task="t", title="M", owner=alice, parent=job, root=job, position=0)
    assert [found["id"] for found in program.get("/api/jobs/").json()["jobs"]] == [str(job.pk)]
    assert program.get(f"/api/jobs/{member.pk}").json()["parent"] == str(job.pk)


def test_a_long_list_takes_one_query_that_an_index_serves(program, alice, django_assert_num_queries):
    program.get("/api/jobs/")
    Job.objects.bulk_create(Job(task="t", title=str(n), owner=alice) for n in range(120))
    after = program.get("/api/jobs/", {"limit": 50}).json()["next"]
    with django_assert_num_queries(4) as captured:
        assert len(program.get("/api/jobs/", {"limit": 50, "after": after}).json()["jobs"]) == 50
    from django.db import connection

    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN QUERY PLAN " + captured.captured_queries[-1]["sql"])
            plan = " ".join(str(row) for row in cursor.fetchall())
        assert "status_list_owner" in plan, plan
        assert "TEMP B-TREE" not in plan, plan


# -- logs and files --------------------------------------------------------------------------------------------


def test_a_log_is_read_in_pages_and_goes_on_where_it_ended(program, job):
    at = timezone.now()

    def write(attempt, *numbers):
        for number in numbers:
            LogLine.objects.create(
                job=job, attempt=attempt, number=number, at=at, level=20, text=f"{attempt}/{number}"
            )

    write(1, 1, 2, 3)
    write(2, 1)
    path = f"/api/jobs/{job.pk}/log"
    first = program.get(path, {"limit": 3}).json()
    assert [line["text"] for line in first["lines"]] == ["1/1", "1/2", "1/3"]
    assert first["more"] is True
    second = program.get(path, {"after": first["next"]}).json()
    assert [line["text"] for line in second["lines"]] == ["2/1"]
    assert second["more"] is False
    none = program.get(path, {"after": second["next"]}).json()
    assert (none["lines"], none["next"]) == ([], second["next"])
    write(2, 2)
    assert [line["text"] for line in program.get(path, {"after": none["next"]}).json()["lines"]] == ["2/2"]
    for after in ("x", "1", "1.", "-1.2", "1.99999999999"):
        is_problem(program.get(path, {"after": after}), 422, "after")


def test_files_are_listed_and_handed_out_as_downloads(program, bob, job):
    entry = Attachment(job=job, name="rows.html", size=5)
    entry.file.save("rows.html", ContentFile(b"<b>hi"), save=True)
    [found] = program.get(f"/api/jobs/{job.pk}/files").json()["files"]
    assert (found["name"], found["role"], found["size"]) == ("rows.html", "output", 5)
    response = program.get(found["url"])
    assert b"".join(response.streaming_content) == b"<b>hi"
    assert response["Content-Type"] == "application/octet-stream"
    assert "attachment" in response["Content-Disposition"]
    is_problem(program_of(bob).get(found["url"]), 404)
    entry.file.delete(save=False)
    is_problem(program.get(found["url"]), 404)


# -- starting, cancelling, retrying ----------------------------------------------------------------------------


def test_a_job_is_accepted_and_has_an_address(program, alice, startables):
    response = post(program, "/api/jobs/", {"job": "count-rows", "params": {"count": 3}})
    assert response.status_code == 202
    job = Job.objects.get()
    assert response["Location"] == f"/api/jobs/{job.pk}"
    assert program.get(response["Location"]).json()["id"] == str(job.pk)
    assert (job.owner, job.startable, job.params["count"], job.title) == (
        alice,
        "count-rows",
        ["3"],
        "Count rows",
    )
    assert job.signature["kwargs"] == {"count": 3, "gate": ""}


def test_a_key_starts_one_job_of_each_person_while_it_lives(program, bob, startables):
    asked = {"job": "count-rows", "params": {"count": 3}, "key": "nightly"}
    first, second = (post(program, "/api/jobs/", asked).json()["id"] for _ in range(2))
    assert first == second
    assert post(program_of(bob), "/api/jobs/", asked).json()["id"] != first
    Job.objects.update(state=State.SUCCEEDED)
    assert post(program, "/api/jobs/", asked).json()["id"] != first


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "job"),
        ({"job": 3}, "job"),
        ({"job": "no-such"}, "job"),
        ({"job": "for-staff"}, "job"),
        ({"job": "count-rows"}, "params.count"),
        ({"job": "count-rows", "params": []}, "params"),
        ({"job": "count-rows", "params": {"count": 0}}, "params.count"),
        ({"job": "count-rows", "params": {"count": True}}, "params.count"),
        ({"job": "count-rows", "params": {"count": {"a": 1}}}, "params.count"),
        ({"job": "count-rows", "params": {"count": [[1]]}}, "params.count"),
        ({"job": "count-rows", "params": {"count": 1, "cuont": 2}}, "params.cuont"),
        ({"job": "count-rows", "params": {"count": 1, "gate": "\0"}}, "params.gate"),
        ({"job": "count-rows", "params": {"count": 1}, "key": "é"}, "key"),
        ({"job": "count-rows", "params": {"count": 1}, "key": "k" * 101}, "key"),
        ({"job": "count-rows", "parms": {}}, "parms"),
    ],
)
def test_what_is_wrong_is_named(program, startables, body, field):
    is_problem(post(program, "/api/jobs/", body), 422, field)
    assert not Job.objects.exists()


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"job": "\xff"}', b"[" * 100_000, b"null", b"1e999"])
def test_what_is_no_json_is_refused(program, body):
    is_problem(program.post("/api/jobs/", body, content_type="application/json"), 422)


def test_too_much_is_refused(program, startables):
    body = {"job": "count-rows", "params": {"count": 1, "gate": "x" * 3_000_000}}
    is_problem(post(program, "/api/jobs/", body), 413)


def test_a_file_is_sent_as_a_form(program, startables):
    upload = ContentFile(b"a,b\n1,2\n", name="people.csv")
    response = program.post("/api/jobs/", {"job": "profile-csv", "key": "k", "params.file": upload})
    assert response.status_code == 202, response.content
    job = Job.objects.get()
    entry = job.attachments.get()
    assert job.signature["kwargs"] == {"file": str(entry.pk)}
    assert entry.file.read() == b"a,b\n1,2\n"
    assert job.title == "Profile a CSV: people.csv"


def test_a_form_that_is_wrong_is_told_by_field(program, startables):
    upload = ContentFile(b"x", name="x.csv")
    is_problem(program.post("/api/jobs/", {"job": "profile-csv", "file": upload}), 422, "file")
    is_problem(program.post("/api/jobs/", {"job": "profile-csv"}), 422, "params.file")
    is_problem(program.post("/api/jobs/", {"job": "profile-csv", "params.x": upload}), 422, "params.x")
    is_problem(program.post("/api/jobs/", {"job": "profile-csv", "more": "1"}), 422, "more")
    assert not Attachment.objects.exists()


def test_cancelling_asks_once_and_leaves_what_has_ended(program, job):
    path = f"/api/jobs/{job.pk}/cancellation"
    asked = post(program, path).json()["cancel_requested_at"]
    assert asked is not None
    assert post(program, path).json()["cancel_requested_at"] == asked
    Job.objects.update(state=State.SUCCEEDED)
    assert post(program, path).json()["state"] == "succeeded"


def test_a_failed_job_is_retried_and_no_other(program, job):
    path = f"/api/jobs/{job.pk}/retry"
    assert "Running" in is_problem(post(program, path), 409)["detail"]
    Job.objects.update(
        state=State.FAILED, signature={"task": "tests.tasks.add", "args": [1, 2], "kwargs": {}}
    )
    again = post(program, path).json()
    assert (again["state"], again["attempt"]) == ("queued", 2)


def test_a_retry_whose_key_another_has_is_refused(program, alice, job):
    Job.objects.update(state=State.FAILED, key="k")
    Job.objects.create(task="t", title="other", owner=alice, key="k")
    assert "same key" in is_problem(post(program, f"/api/jobs/{job.pk}/retry"), 409)["detail"]


def test_another_method_is_refused(program, job):
    is_problem(program.delete(f"/api/jobs/{job.pk}"), 405)
    is_problem(program.get(f"/api/jobs/{job.pk}/retry"), 405)
    is_problem(program.put("/api/jobs/"), 405)


def test_what_is_wrong_is_said_in_the_language_of_who_asks(program, settings, startables):
    settings.LANGUAGES = [("en", "English"), ("de", "Deutsch")]
    answer = program.post(
        "/api/jobs/",
        json.dumps({"job": "count-rows", "params": {}}),
        content_type="application/json",
        headers={"Accept-Language": "de"},
    )
    problem = is_problem(answer, 422, "params.count")
    assert problem["errors"][0]["detail"] == "Dieses Feld ist zwingend erforderlich."
    assert answer["Content-Language"] == "de"
    assert "Accept-Language" in answer["Vary"]


def test_every_refusal_can_be_translated():
    """No text of ours is given to a refusal as it stands; what others have said passes through."""
    for path in sorted((PROJECT / "status" / "programs").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"Refused", "Refused.because_of"}:
                said = node.args[1]
                assert not isinstance(said, ast.Constant), f"{path.name}: {ast.unparse(said)}"
