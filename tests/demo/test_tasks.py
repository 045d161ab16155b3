"""The task outside a job, on a stored file; inside jobs it is tested with workers and browsers."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage
from django.template.loader import render_to_string

from demo import tasks
from demo.bad_csv import BadCSV
from demo.forms import ProfileCSVForm
from status.registry import startables
from tests.demo.streams import written


@dataclass
class Recorder:
    """What the task says about itself."""

    steps: list[str] = field(default_factory=list)
    updates: list[tuple[str, float, float | None, str | None]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    attached: dict[str, bytes] = field(default_factory=dict)

    @contextmanager
    def step(self, name):
        self.steps.append(name)

        def update(current=None, total=None, unit=None):
            self.updates.append((name, current, total, unit))

        yield SimpleNamespace(update=update)

    def log(self, text, *args, level=20):
        if level >= 30:
            self.warnings.append(text % args if args else text)

    def attach(self, name, content):
        self.attached[name] = content


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    for name in ("step", "log", "attach"):
        monkeypatch.setattr(tasks, name, getattr(recorder, name))
    return recorder


@pytest.fixture
def run(monkeypatch):
    """Run the task on an attachment with the given bytes."""
    storage = InMemoryStorage()

    def profile(data: bytes, name: str = "people.csv"):
        stored = SimpleNamespace(storage=storage, name=storage.save("input", ContentFile(data)))
        attachment = SimpleNamespace(name=name, size=len(data), file=stored)
        objects = SimpleNamespace(get=lambda pk: {"the id": attachment}[pk])
        monkeypatch.setattr(tasks, "Attachment", SimpleNamespace(objects=objects))
        return tasks.profile_csv("the id")

    return profile


RAGGED = b'id,name,born\n1,"Ada, Countess",1815-12-10\n2,Alan,1912-06-23\n3\n'


def test_it_can_be_started_from_a_page():
    entry = startables["profile-csv"]
    assert (entry.origin, entry.form, str(entry.title)) == (
        tasks.profile_csv.name,
        ProfileCSVForm,
        "Profile a CSV",
    )
    assert entry.result_template == "demo/profile_result.html"


def test_outside_a_job_it_just_returns(run):
    result = run(RAGGED)
    assert (result["rows"], result["column_count"], result["file"]["name"]) == (3, 3, "people.csv")
    assert [column["type"] for column in result["columns"]] == ["integer", "text", "date"]


def test_inside_a_job_it_reports_and_attaches(run, recorder):
    run(RAGGED)
    assert recorder.steps == ["Read", "Profile", "Write report"]
    assert (("Read", len(RAGGED), None, None)) in recorder.updates
    assert (("Read", 0, len(RAGGED), "bytes")) in recorder.updates
    assert (("Profile", 0, 3, "rows")) in recorder.updates
    assert recorder.updates[-1] == ("Profile", 3, None, None)
    assert list(recorder.attached) == ["profile.json", "profile.csv", "ragged.csv"]
    assert recorder.attached["ragged.csv"].startswith(b"line,fields,id,name,born\r\n4,1,3")
    assert len(recorder.warnings) == 1


def test_without_ragged_rows_there_is_no_file_of_them(run, recorder):
    run(b"id,name\n1,Ada\n")
    assert list(recorder.attached) == ["profile.json", "profile.csv"]
    assert recorder.warnings == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"%PDF-1.7", "a PDF document"),
        ("id,name\n1,Zoë\n".encode() + b"2,\xff\n", "Byte 0xFF in line 3"),
        (b"id,name\n" + b'1,"Ada"\n' * 30 + b'2,"Alan\n', "The record in line 32 has no end"),
    ],
)
def test_bad_input_fails_with_a_message_for_the_user(run, data, message):
    with pytest.raises(BadCSV, match=message):
        run(data)


class Elements(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += f"{data} "


def rendered(result) -> Elements:
    html = render_to_string("demo/profile_result.html", {"job": SimpleNamespace(result=result)})
    page = Elements(html)
    page.text = " ".join(page.text.split())
    return page


def test_the_page_shows_a_table(run):
    page = rendered(run(RAGGED))
    roles = [attributes.get("role") for _tag, attributes in page.tags]
    assert roles.count("row") == 1 + 3
    assert roles.count("columnheader") == 6
    assert roles.count("cell") == 3 * 5
    assert "people.csv: rows 3, columns 3, encoding UTF-8, delimiter comma." in page.text
    assert "Ragged rows: 1; 1 with too few fields, 0 with too many." in page.text
    assert "1815-12-10 1912-06-23" in page.text


def test_the_page_has_no_script_and_no_inline_style(run):
    page = rendered(run(RAGGED))
    assert {tag for tag, _attributes in page.tags}.isdisjoint({"script", "style"})
    names = {name for _tag, attributes in page.tags for name in attributes}
    assert "style" not in names
    assert not [name for name in names if name.startswith("on")]


def test_values_are_escaped(run):
    page = rendered(run(b'id,"<script>alert(1)</script>"\n1,<b>bold</b>\n2,<i>\n'))
    assert "script" not in {tag for tag, _attributes in page.tags}
    assert "<b>bold</b>" in page.text


def test_numbers_are_in_groups_and_estimates_say_so(run):
    rows = [["id", "x"], *[[f"user {number}", number % 7] for number in range(12_000)]]
    page = rendered(run(written(rows).encode()))
    assert "rows 12,000" in page.text
    assert "± 3.1 %" in page.text
    assert "none more than" in page.text


def test_wide_files_say_what_is_left_out(run):
    names = ",".join(f"c{number}" for number in range(250))
    page = rendered(run(f"{names}\n{names}\n".encode()))
    assert (
        "Only the first 200 columns are shown; the other 50 are in profile.json and profile.csv." in page.text
    )


@pytest.mark.parametrize("result", [None, {}])
def test_without_a_result_there_is_nothing(result):
    page = rendered(result)
    assert (page.tags, page.text) == ([], "")
