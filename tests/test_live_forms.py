"""Forms that start jobs over a page's socket: what is sent, and the HTML that answers it."""

import json
import re
from html import unescape

import pytest
from django import forms
from django.contrib.auth.models import AnonymousUser, Permission
from django.core.exceptions import ValidationError
from django.db import connection
from django.template import Context, Template, TemplateSyntaxError
from django.test import RequestFactory

from status import access, live_forms, registry
from status.live_forms import MOST_SHOWN
from status.models import Job
from status.regions import LiveForm, Region, Subject, View
from status.registry import startable
from status.states import State
from tests import tasks
from tests.processes import wait_until

pytestmark = pytest.mark.django_db


class RowsForm(forms.Form):
    rows = forms.IntegerField(label="Rows")
    kinds = forms.MultipleChoiceField(choices=[("a", "A"), ("b", "B")], required=False)

    def clean_rows(self):
        if self.cleaned_data["rows"] > 100:
            raise ValidationError("Too <many>.")
        return self.cleaned_data["rows"]


class FileForm(forms.Form):
    file = forms.FileField()


class KeysForm(forms.Form):
    keys = forms.CharField()


def import_rows(rows, kinds):
    return tasks.import_rows.s(rows)


@pytest.fixture(autouse=True)
def entries(monkeypatch):
    monkeypatch.setattr(registry, "startables", {})
    startable(form=RowsForm, title="Import", name="import")(import_rows)
    startable(form=RowsForm, title="Import all", name="all", permission="status.stop_job")(import_rows)
    startable(form=FileForm, title="Files", name="files")(import_rows)
    startable(form=KeysForm, title="Keys", name="keys")(import_rows)


def view_of(user, *places, **fields):
    fields = {"language": "en", "timezone": "UTC", "regions": ()} | fields
    return View(user=access.user_key(user), forms=places or (LiveForm("import", "import"),), **fields)


def message(key="k1", place="import", **values):
    headers = {"HX-Request": "true", "HX-Trigger": None}
    return json.dumps({"start_form": place, "start_key": key, **values, "HEADERS": headers})


def next_view(answer, user):
    """The view that the page has after an answer."""
    return access.unsign(re.search(r"\?view=([^\"&]+)", unescape(answer))[1], user)


def next_key(answer):
    return re.search(r'name="start_key" value="(\w+)"', answer)[1]


def painted(template, user, **context):
    request = RequestFactory().get("/")
    request.user = user
    return Template("{% load status %}" + template).render(Context({"request": request, **context})), request


# -- starting --------------------------------------------------------------------------------------------------


def test_a_message_starts_a_job_that_the_page_then_shows(alice):
    answer = live_forms.answer(view_of(alice), alice, message(rows="3", kinds=["a", "b"]))
    job = Job.objects.get()
    assert (job.owner, job.startable) == (alice, "import")
    assert job.params == {"rows": ["3"], "kinds": ["a", "b"]}
    assert f'href="{job.get_absolute_url()}"' in answer
    view = next_view(answer, alice)
    [region] = view.regions
    assert region.subject == Subject.job(job.pk)
    assert f'id="{region.id}"' in answer
    assert view.forms == (LiveForm("import", "import"),)


def test_what_is_sent_again_starts_nothing_also_when_the_job_has_ended(alice):
    view = view_of(alice)
    first = live_forms.answer(view, alice, message(rows="3"))
    again = live_forms.answer(view, alice, message(rows="3"))
    Job.objects.update(state=State.SUCCEEDED)
    late = live_forms.answer(next_view(first, alice), alice, message(rows="3"))
    assert Job.objects.count() == 1
    assert {view.regions for view in (next_view(text, alice) for text in (first, again, late))} == {
        next_view(first, alice).regions
    }


def test_the_form_comes_back_with_a_key_for_another_job(alice):
    answer = live_forms.answer(view_of(alice), alice, message(rows="3"))
    live_forms.answer(next_view(answer, alice), alice, message(next_key(answer), rows="3"))
    assert Job.objects.count() == 2


def test_the_key_is_that_of_the_same_form_over_http(alice, client):
    client.force_login(alice)
    client.post("/jobs/new/import/", {"rows": "3", "start_key": "k1"})
    live_forms.answer(view_of(alice), alice, message(rows="3"))
    assert Job.objects.count() == 1


def test_keys_are_of_one_person(alice, bob):
    for user in (alice, bob):
        live_forms.answer(view_of(user), user, message(rows="3"))
    assert Job.objects.count() == 2


def test_the_newest_jobs_of_a_form_are_shown_and_what_else_is_on_the_page_stays(alice):
    other = Region(Subject.topic("site-status"), "status/partials/current_status.html", "top")
    view = view_of(alice, regions=(other,), bell=True)
    for number in range(MOST_SHOWN + 2):
        answer = live_forms.answer(view, alice, message(f"k{number}", rows="3"))
        view = next_view(answer, alice)
    newest = list(Job.objects.order_by("-created_at")[:MOST_SHOWN])
    assert view.regions[0] == other
    assert [region.subject for region in view.regions[1:]] == [
        Subject.job(job.pk) for job in reversed(newest)
    ]
    assert re.findall(r'href="/jobs/([0-9a-f-]{36})/"', answer) == [str(job.pk) for job in newest]
    assert view.bell


def test_an_answer_takes_few_queries(alice, django_assert_max_num_queries):
    live_forms.answer(view_of(alice), alice, message("k0", rows="3"))
    # The key, the job within its savepoints, its outbox, the cards.
    with django_assert_max_num_queries(10):
        live_forms.answer(view_of(alice), alice, message(rows="3"))


def test_a_key_is_found_by_an_index(alice):
    plan = Job.objects.filter(key="form:1:k").order_by("-created_at").explain()
    if connection.vendor == "sqlite":
        assert "status_job_key" in plan


# -- what is wrong ---------------------------------------------------------------------------------------------


def test_what_is_wrong_is_said_in_the_form_which_keeps_its_key(alice):
    answer = live_forms.answer(view_of(alice), alice, message(rows="101", kinds="b"))
    assert "Too &lt;many&gt;." in answer
    assert next_key(answer) == "k1"
    assert 'value="101"' in answer
    assert re.search(r'<option value="b" selected', answer)
    field = re.search(r"<input[^>]*name=\"rows\"[^>]*>", answer)[0]
    assert 'aria-invalid="true"' in field
    assert 'aria-describedby="import-rows_error"' in field
    assert "autofocus" in field
    assert "ws-connect" not in answer
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        "\ud800",
        '{"rows": 3}',
        "[" * 100_000,
        message(place="other", rows="3"),
        message(key="", rows="3"),
        message(key="k" * 101, rows="3"),
        json.dumps({"start_form": ["import"], "start_key": [], "rows": "3"}),
    ],
    ids=range(10),
)
def test_what_is_no_form_of_the_page_is_answered_with_what_to_do(alice, text):
    answer = live_forms.answer(view_of(alice), alice, text)
    assert "Load it again." in answer
    assert answer.startswith('<div id="live-note"')
    assert not Job.objects.exists()


def test_the_permission_is_asked_for_with_every_message(alice, django_user_model):
    alice.user_permissions.add(Permission.objects.get(codename="stop_job"))
    place = LiveForm("all", "all")
    view = view_of(alice, place)
    assert "ws-connect" in live_forms.answer(view, alice, message(place="all", rows="3"))
    alice.user_permissions.clear()
    anew = django_user_model.objects.get(pk=alice.pk)
    for user in (anew, AnonymousUser()):
        assert "you may not start this" in live_forms.answer(view, user, message("k2", place="all", rows="3"))
    assert Job.objects.count() == 1


def test_a_page_of_one_person_starts_nothing_for_another(alice, bob):
    assert "you may not start this" in live_forms.answer(view_of(alice), bob, message(rows="3"))


def test_the_page_is_answered_in_its_own_language(alice):
    class Loud(forms.Form):
        rows = forms.IntegerField()

    startable(form=Loud, title="Loud", name="loud")(import_rows)
    view = view_of(alice, LiveForm("loud", "loud"), language="de")
    assert "Dieses Feld ist zwingend erforderlich." in live_forms.answer(view, alice, message(place="loud"))


# -- the tag and the page --------------------------------------------------------------------------------------


def test_the_tag_emits_a_form_that_also_posts_and_signs_it_into_the_socket(alice):
    html, request = painted('{% live_form "import" %}{% live_form "import" %}{% live_socket %}', alice)
    assert html.count('method="post" action="/jobs/new/import/"') == 2
    assert html.count("csrfmiddlewaretoken") == 2
    view = next_view(html, alice)
    assert view.forms == (LiveForm("import", "start-import"), LiveForm("import", "start-import-2"))
    assert "http-equiv" not in html, "a page that reloads itself would empty the form"
    assert len(set(re.findall(r'name="start_key" value="(\w+)"', html))) == 2
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_the_tag_takes_a_form_that_is_filled_in(alice):
    request = RequestFactory().get("/")
    request.user = alice
    template = Template('{% load status %}{% live_form "import" form=form id="mine" %}')
    html = template.render(Context({"request": request, "form": RowsForm(initial={"rows": 7})}))
    assert 'value="7"' in html
    assert '<form id="mine"' in html


def test_who_may_not_start_it_sees_no_form(alice):
    for user, name in ((alice, "all"), (AnonymousUser(), "import")):
        html, request = painted(f'{{% live_form "{name}" %}}{{% live_socket %}}', user)
        assert html.strip() == ""


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        (
            '{% live_form "files" %}',
            'files, and a socket takes none. Link to its own page: {% url "status:start" "files"',
        ),
        ('{% live_form "keys" %}', "a field that is named keys"),
        ('{% live_form "other" %}', "nothing is named 'other'. Known: import, all"),
        ('{% live_form "import" id="a b" %}', "id must begin with a letter"),
        ('{% live_form "import" form=form %}', "it has a prefix"),
    ],
)
def test_what_cannot_be_is_told_to_the_developer(alice, tag, said):
    with pytest.raises(TemplateSyntaxError, match=re.escape(said)):
        painted(tag, alice, form=RowsForm(prefix="p"))


def test_a_form_with_files_has_its_page_as_ever(alice, client):
    client.force_login(alice)
    assert 'enctype="multipart/form-data"' in client.get("/jobs/new/files/").content.decode()
    html = client.get("/jobs/new/import/").content.decode()
    assert 'id="start-import"' in html
    assert "multipart" not in html


def test_a_poll_says_that_forms_post_by_http_again(alice, client):
    client.force_login(alice)
    view = next_view(client.get("/jobs/new/import/").content.decode(), alice)
    html = client.get("/jobs/frame/", {"view": access.sign(view)}).content.decode()
    assert '<div id="live-senders" hx-swap-oob="innerHTML"></div>' in html


def test_the_field_that_is_wrong_has_the_focus_over_http_as_well(alice, client):
    client.force_login(alice)
    html = client.post("/jobs/new/import/", {"rows": "101"}).content.decode()
    field = re.search(r"<input[^>]*name=\"rows\"[^>]*>", html)[0]
    assert "autofocus" in field
    [described] = re.findall('aria-describedby="([^"]+)"', field)
    assert f'id="{described}"' in html


# -- the socket ------------------------------------------------------------------------------------------------


@pytest.mark.workers
@pytest.mark.django_db(transaction=True)
def test_a_socket_stays_open_whatever_is_sent_and_ends_to_start_with_the_login(open_page, alice, monkeypatch):
    monkeypatch.undo()  # The web server has those of the demo.
    page = open_page("/jobs/new/render-on-the-farm/", alice)
    place = "start-render-on-the-farm"
    with page.socket() as socket:

        def hear(text):
            return wait_until(lambda: text in (found := socket.recv(timeout=20)) and found, 30, text)

        hear('ws-send hx-trigger="submit from:#start-render-on-the-farm"')
        socket.send("no JSON")
        hear("Load it again.")
        socket.send(b"\x00")
        hear("Load it again.")
        socket.send(json.dumps({"x": "y" * 70_000}))
        hear("more than 64 KB")
        for _number in range(60):
            socket.send("{}")
        hear("too often")
        wait_until(lambda: socket.send(message(place=place, frames="0")) or hear("live-"), 5)
        alice.set_password("another")
        alice.save()

        def refused():
            socket.send(message("k2", place=place, frames="2", behaviour="good"))
            return "you may not start this" in socket.recv(timeout=20)

        wait_until(refused, 20)
    assert not Job.objects.exists()
