"""Starting from a page what takes several files, and what is a function."""

import re
from uuid import uuid4

import pytest
from django import forms
from django.core.exceptions import ValidationError
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile

from status import registry
from status.forms import MultipleFileField
from status.models import Attachment, Job
from status.models.parts import FOLDER
from status.registry import startable
from status.states import State
from tests import tasks


class PhotosForm(forms.Form):
    photos = MultipleFileField(max_files=5, required=False)
    note = forms.FileField(required=False)
    size = forms.IntegerField(initial=256)


class Photos:
    """A startable function: what it was called with, and what it shall do."""

    def __init__(self) -> None:
        self.calls: list[dict] = []
        self.refusal: Exception | None = None

    def __call__(self, **arguments):
        ids = arguments["photos"]
        read = [Attachment.objects.get(pk=pk).file.read() for pk in ids]
        self.calls.append({**arguments, "read": read})
        if self.refusal:
            raise self.refusal
        return tasks.import_rows.s(len(ids))


@pytest.fixture
def photos(monkeypatch):
    monkeypatch.setattr(registry, "startables", {})
    function = Photos()
    function.__module__, function.__qualname__ = "tests", "photos"
    startable(form=PhotosForm, title="Photos")(function)
    return function


@pytest.fixture
def page(client, alice):
    client.force_login(alice)
    return client


def photo(name="a.jpg", content=b"aaa"):
    return SimpleUploadedFile(name, content)


def post(page, **data):
    return page.post("/jobs/new/photos/", {"size": 64, **data})


def stored_jobs():
    try:
        return set(default_storage.listdir(FOLDER)[0])
    except FileNotFoundError:
        return set()


def test_each_file_is_an_attachment_and_the_function_gets_their_ids(page, photos):
    post(page, photos=[photo(), photo("b.jpg", b"bbb")], note=photo("note.txt", b"n"))
    job = Job.objects.get()
    rows = job.attachments.order_by("created_at")
    assert [(row.field, row.name, row.role) for row in rows] == [
        ("photos", "a.jpg", "input"),
        ("photos", "b.jpg", "input"),
        ("note", "note.txt", "input"),
    ]
    (call,) = photos.calls
    assert call["photos"] == [str(row.pk) for row in rows[:2]]
    assert call["note"] == str(rows[2].pk)
    assert (call["size"], call["read"]) == (64, [b"aaa", b"bbb"])
    assert (job.task, job.startable) == ("tests.tasks.import_rows", "photos")
    assert job.title == "Photos: a.jpg, b.jpg, note.txt"


def test_without_files_the_list_is_empty(page, photos):
    post(page)
    assert photos.calls[0]["photos"] == []
    assert Job.objects.get().title == "Photos"


def test_the_title_of_many_files_names_the_first(page, photos):
    post(page, photos=[photo(f"{number}.jpg") for number in range(5)])
    assert Job.objects.get().title == "Photos: 0.jpg, 1.jpg, 2.jpg and 2 more"


@pytest.mark.parametrize(
    "refusal", [ValidationError("Too few of them."), ValidationError({"size": ["Too small."]})]
)
def test_what_the_function_refuses_is_told_at_the_form_and_leaves_nothing(page, photos, refusal):
    before = stored_jobs()
    photos.refusal = refusal
    response = post(page, photos=[photo()])
    assert response.status_code == 200
    assert refusal.messages[0] in response.content.decode()
    assert not Job.objects.exists()
    assert not Attachment.objects.exists()
    assert stored_jobs() == before


def test_any_other_exception_leaves_nothing_either(page, photos):
    before = stored_jobs()
    photos.refusal = RuntimeError("a mistake")
    with pytest.raises(RuntimeError):
        post(page, photos=[photo()])
    assert not Job.objects.exists()
    assert stored_jobs() == before


def test_a_double_click_keeps_the_files_of_the_first_alone(page, photos):
    before = stored_jobs()
    for _ in range(2):
        post(page, photos=[photo(), photo("b.jpg")], start_key="same")
    job = Job.objects.get()
    assert Attachment.objects.count() == 2 == job.attachments.count()
    assert stored_jobs() - before == {str(job.pk)}


@pytest.fixture
def earlier(page, photos):
    post(page, photos=[photo(), photo("b.jpg", b"bbb")])
    Job.objects.update(state=State.FAILED)
    return Job.objects.get()


def test_running_again_uses_all_of_them(page, photos, earlier):
    form = page.get(f"/jobs/new/photos/?again={earlier.pk}").content.decode()
    assert "“a.jpg” and the rest of the 2 files of the earlier run are used again" in form
    post(page, again=str(earlier.pk), start_key=uuid4().hex)
    again = Job.objects.exclude(pk=earlier.pk).get()
    assert [row.name for row in again.attachments.order_by("created_at")] == ["a.jpg", "b.jpg"]
    assert photos.calls[-1]["read"] == [b"aaa", b"bbb"]


def test_running_again_with_others_uses_those_alone(page, photos, earlier):
    post(page, again=str(earlier.pk), photos=[photo("c.jpg", b"c")])
    assert photos.calls[-1]["read"] == [b"c"]


def test_too_many_files_get_a_message_at_the_form(page, photos):
    response = post(page, photos=[photo(f"{number}.jpg") for number in range(6)])
    assert "Choose at most 5 files; these are 6." in response.content.decode()
    assert re.search(r'aria-invalid="true"', response.content.decode())
    assert photos.calls == []
