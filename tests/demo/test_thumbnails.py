"""The tasks called as functions, the function that makes the canvas, and the whole with a worker."""

import csv
import io
import zipfile
from types import SimpleNamespace
from uuid import uuid4

import pytest
from celery import chord
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.template.loader import render_to_string
from django.utils.datastructures import MultiValueDict
from PIL import Image

from demo import forms, thumbnails
from demo.forms import ThumbnailsForm
from demo.thumbnail_image import BadImage
from demo.thumbnails import NoThumbnails, make_thumbnails, pack, thumbnail
from demo.zip_entries import BadArchive
from status.jobs import start
from status.models import Attachment, Job
from status.registry import startables
from status.states import State
from tests.conftest import ended
from tests.demo.images import archive, image

PICTURE = image(size=(400, 200), colour="red")


@pytest.fixture
def attached(alice, monkeypatch):
    """What the tasks attach, by name, as in a job."""
    job = Job.objects.create(task="t", title="Of a member", owner=alice)
    files: dict[str, bytes] = {}

    def attach(name, content):
        files[name] = content if isinstance(content, bytes) else content.read()
        attachment = Attachment(job=job, name=name, size=len(files[name]))
        attachment.file.save(name, ContentFile(files[name]), save=True)
        return attachment

    monkeypatch.setattr(thumbnails, "attach", attach)
    return files


@pytest.fixture
def logged(logged_in_module):
    return logged_in_module(thumbnails)


def report(data: bytes) -> dict[str, dict[str, str]]:
    return {row["file"]: row for row in csv.DictReader(io.StringIO(data.decode(), newline=""))}


def arguments(canvas) -> list[tuple]:
    return [task.args for task in canvas.tasks]


def test_one_image_becomes_small(stored, attached):
    result = thumbnail(stored("a.png", PICTURE), None, "trip/a.png", "trip/a.webp", 64, "webp")
    assert Image.open(io.BytesIO(attached["a.webp"])).size == (64, 32)
    assert result == {
        "attachment": str(Attachment.objects.get(name="a.webp").pk),
        "source": "trip/a.png",
        "target": "trip/a.webp",
        "before": len(PICTURE),
        "after": len(attached["a.webp"]),
        "original": [400, 200],
        "size": [64, 32],
    }


def test_outside_a_job_nothing_is_attached(stored):
    result = thumbnail(stored("a.png", PICTURE), None, "a.png", "a.jpg", 64, "jpeg")
    assert (result["attachment"], result["size"]) == (None, [64, 32])


def test_the_canvas_has_a_task_for_each_image(stored):
    single = stored("a.png", PICTURE)
    many = stored("trip.zip", archive({"lake/b.png": PICTURE, "notes.txt": b"hello"}))
    canvas = make_thumbnails([single, many], 64, "png")
    assert isinstance(canvas, chord)
    first, second = arguments(canvas)
    assert first == (single, None, "a.png", "a.png", 64, "png")
    assert second[0] == many
    assert second[2:] == ("trip/lake/b.png", "trip/lake/b.png", 64, "png")
    said = canvas.tasks[0].options["status"]
    assert (said["title"], said["may_fail"]) == ("a.png", True)
    assert canvas.body.args == ([["trip/notes.txt", "no image"]], 1)


def test_an_image_in_an_archive_is_read_from_its_place(stored, attached):
    canvas = make_thumbnails([stored("trip.zip", archive({"x.txt": b"x", "b.png": PICTURE}))], 64, "png")
    result = thumbnail(*arguments(canvas)[0])
    assert (result["before"], result["original"]) == (len(PICTURE), [400, 200])


def test_what_cannot_be_planned_is_a_message_for_the_form(stored):
    with pytest.raises(ValidationError, match=r"empty\.zip is empty"):
        make_thumbnails([stored("empty.zip", archive({}))], 64, "png")


def test_a_broken_image_fails_with_a_message_for_people(stored):
    with pytest.raises(BadImage, match="no image of a kind that can be read"):
        thumbnail(stored("a.jpg", b"broken"), None, "a.jpg", "a.png", 64, "png")


def test_an_image_that_is_damaged_in_its_archive(stored):
    data = bytearray(archive({"b.png": PICTURE}, zipfile.ZIP_STORED))
    canvas = make_thumbnails([stored("trip.zip", bytes(data))], 64, "png")
    data[200] ^= 1
    broken = stored("trip.zip", bytes(data))
    with pytest.raises(BadArchive, match="damaged in the archive"):
        thumbnail(broken, *arguments(canvas)[0][1:])


def test_they_are_packed_with_a_report(stored, attached, logged):
    pk = stored("a.png", PICTURE)
    results = [thumbnail(pk, None, name, f"{name}.webp", 64, "webp") for name in ("lake/a", "=1+1")]
    summary = pack([*results, None], [["notes.txt", "no image"]], 3)
    packed = zipfile.ZipFile(io.BytesIO(attached["thumbnails.zip"]))
    assert packed.namelist() == ["lake/a.webp", "=1+1.webp", "report.csv"]
    assert packed.testzip() is None
    assert packed.read("lake/a.webp") == attached["a.webp"]
    assert packed.read("report.csv") == attached["report.csv"]
    rows = report(attached["report.csv"])
    assert rows["lake/a"]["thumbnail"] == "lake/a.webp"
    assert (rows["lake/a"]["bytes_before"], rows["lake/a"]["width_after"]) == (str(len(PICTURE)), "64")
    assert "'=1+1" in rows, "a spreadsheet would take it for a formula"
    assert rows["?"]["problem"] == "Its task did not end well."
    assert rows["notes.txt"]["problem"] == "Skipped: no image."
    assert (summary["thumbnails"], summary["failed"], summary["skipped"]) == (2, 1, 3)
    assert summary["before"] == 2 * len(PICTURE)
    assert logged == ["?: Its task did not end well.", "3 files were skipped", "1 × no image"]


def test_a_thumbnail_that_is_gone_is_reported(stored, attached, logged):
    result = thumbnail(stored("a.png", PICTURE), None, "a", "a.webp", 64, "webp")
    lost = {**result, "source": "b", "attachment": str(uuid4())}
    deleted = thumbnail(stored("a.png", PICTURE), None, "c", "c.webp", 64, "webp")
    Attachment.objects.get(pk=deleted["attachment"]).file.delete(save=False)
    summary = pack([result, lost, deleted])
    assert (summary["thumbnails"], summary["failed"]) == (1, 2)
    rows = report(attached["report.csv"])
    assert rows["b"]["problem"] == rows["c"]["problem"] == "Its thumbnail is not there any more."


def test_when_none_could_be_made_the_report_says_why(attached, logged):
    with pytest.raises(NoThumbnails, match=r"report\.csv"):
        pack([None, None])
    assert set(attached) == {"report.csv"}


def test_only_the_first_bad_images_are_logged(attached, logged):
    with pytest.raises(NoThumbnails):
        pack([None] * 50)
    assert len(logged) == 21
    assert logged[-1] == "30 more images failed; see report.csv"


def test_the_jobs_of_the_failed_tasks_say_why(alice, attached, logged):
    whole = Job.objects.create(task="celery.chain", title="Make thumbnails", owner=alice)
    body = Job.objects.create(task=pack.name, title="Pack", root=whole)
    for name, error in (("b.jpg", "The image is damaged: cut."), ("a.jpg", "")):
        Job.objects.create(task=thumbnail.name, title=name, root=whole, state=State.FAILED, error=error)
    with pytest.raises(NoThumbnails):
        pack.apply(args=[[None, None]], task_id=str(body.pk), throw=True)
    rows = report(attached["report.csv"])
    assert rows["b.jpg"]["problem"] == "The image is damaged: cut."
    assert set(rows) == {"a.jpg", "b.jpg"}


def test_the_rows_are_read_in_parts(stored, attached, django_assert_max_num_queries):
    result = thumbnail(stored("a.png", image()), None, "a", "a.webp", 16, "webp")
    many = [{**result, "target": f"{number}.webp"} for number in range(450)]
    with django_assert_max_num_queries(10):
        summary = pack(many)
    assert summary["thumbnails"] == 450


def posted(*uploads, **data) -> ThumbnailsForm:
    given = {"longest": "64", "image_format": "png", **data}
    return ThumbnailsForm(given, MultiValueDict({"images": list(uploads)}))


def upload(name="a.png", data=PICTURE):
    return SimpleUploadedFile(name, data)


def test_the_form_takes_images_and_archives_and_leaves_them_at_their_beginning():
    form = posted(upload(), upload("trip.zip", archive({"b.png": PICTURE})), upload("empty.jpg", b""))
    assert form.is_valid(), form.errors
    assert form.cleaned_data["images"][0].read() == PICTURE
    assert form.cleaned_data["longest"] == 64


@pytest.mark.parametrize(
    ("uploads", "message"),
    [
        ([], "This field is required."),
        ([("empty.zip", archive({}))], "empty.zip is empty."),
        ([("notes.txt", b"hello")], "no image"),
    ],
)
def test_the_form_tells_before_anything_starts(uploads, message):
    form = posted(*(upload(name, data) for name, data in uploads))
    assert message in form.errors["images"][0]


def test_the_form_limits_the_size_of_all_together(monkeypatch):
    monkeypatch.setattr(forms, "MAX_UPLOAD_BYTES", 1_000)
    (error,) = posted(upload(data=bytes(600)), upload(data=bytes(600))).errors["images"]
    assert error == "These files have 1.2\xa0KB together; the limit is 1000\xa0bytes."


def test_more_files_than_it_takes_are_a_message_and_no_bad_request(client, alice):
    client.force_login(alice)
    data = {"images": [upload(f"{number}.png", b"x") for number in range(101)], "longest": "64"}
    response = client.post("/jobs/new/make-thumbnails/", data)
    assert "Choose at most 100 files; these are 101." in response.content.decode()


@pytest.mark.parametrize("longest", ["15", "1025", "", "x"])
def test_the_form_limits_the_longest_side(longest):
    assert "longest" in posted(upload(), longest=longest).errors


def test_it_can_be_started_from_a_page():
    entry = startables["make-thumbnails"]
    assert (entry.origin, entry.form) == ("demo.thumbnails.make_thumbnails", ThumbnailsForm)


def test_the_result_says_what_came_out():
    result = {"thumbnails": 1200, "failed": 2, "skipped": 0, "before": 4096, "after": 1024}
    html = render_to_string(
        startables["make-thumbnails"].result_template, {"job": SimpleNamespace(result=result)}
    )
    assert "1,200" in html
    assert "4.0\xa0KB became 1.0\xa0KB" in html
    assert "report.csv says" in html
    assert (
        render_to_string("demo/thumbnails_result.html", {"job": SimpleNamespace(result=None)}).strip() == ""
    )


@pytest.mark.workers
@pytest.mark.django_db(transaction=True)
def test_a_worker_makes_them_and_the_broken_one_fails_alone(worker, stored, alice):
    files = [
        stored("trip.zip", archive({"lake/a.png": PICTURE, "broken.jpg": b"broken", "notes.txt": b"x"})),
        stored("b.png", PICTURE),
    ]
    whole = ended(start(make_thumbnails(files, 64, "webp"), owner=alice), 60)
    assert whole.state == State.SUCCEEDED, whole.error
    assert (whole.result["thumbnails"], whole.result["failed"], whole.result["skipped"]) == (2, 1, 1)
    body = Job.objects.get(root=whole, task=pack.name)
    packed = zipfile.ZipFile(io.BytesIO(body.attachments.get(name="thumbnails.zip").file.read()))
    assert packed.namelist() == ["trip/lake/a.webp", "b.webp", "report.csv"]
    rows = report(packed.read("report.csv"))
    assert rows["trip/broken.jpg"]["problem"] == "This is no image of a kind that can be read."
    assert any("trip/broken.jpg" in line.text for line in body.lines.all())


@pytest.mark.workers
@pytest.mark.django_db(transaction=True)
def test_it_is_started_from_its_page(worker, client, alice):
    client.force_login(alice)
    data = {"images": [upload(), upload("b.png")], "longest": "64", "image_format": "jpeg"}
    response = client.post("/jobs/new/make-thumbnails/", data)
    assert response.status_code == 302, response.content.decode()
    whole = ended(Job.objects.get(startable="make-thumbnails"), 60)
    assert whole.state == State.SUCCEEDED, whole.error
    page = client.get(whole.get_absolute_url()).content.decode()
    assert "became" in page
    assert "thumbnails.zip" in page
    made = Attachment.objects.filter(job__root=whole, role="output").values_list("name", flat=True)
    assert sorted(made) == ["a.jpg", "b.jpg", "report.csv", "thumbnails.zip"]
