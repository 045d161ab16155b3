"""The tasks called as functions, the PDF, the form, and the whole with a worker."""

import re
from types import SimpleNamespace

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.datastructures import MultiValueDict
from django.utils.translation import get_language, override
from reportlab import rl_config

from demo import monthly_report as report
from demo import report_pdf as pdf_module
from demo.bad_csv import BadCSV
from demo.forms import MonthlyReportForm
from demo.monthly_report import merge_orders, monthly_report, profile_orders, render_report, totals_csv
from demo.order_columns import BadOrders
from demo.order_totals import Totals
from demo.report_pdf import MOST_GROUPS, printable, report_pdf
from status.jobs import start
from status.models import Attachment, Job
from status.registry import startables
from status.states import State
from tests.conftest import ended

BERLIN = b"date;shop;amount\n31.05.2026;Berlin;1.234,50\n01.06.2026;Berlin;0,50\n;Berlin;7\n"
PARIS = b"day,total\n" + b"2026-05-02,10.00\n" * 30 + b"2026-05-03,oops\n"


@pytest.fixture
def attached(monkeypatch):
    files = {}
    monkeypatch.setattr(report, "attach", files.__setitem__)
    return files


@pytest.fixture
def logged(logged_in_module):
    return logged_in_module(report)


@pytest.fixture
def readable(monkeypatch):
    """PDF files whose text can be looked for."""
    monkeypatch.setattr(rl_config, "pageCompression", 0)


def merged(totals=None, left_out=0) -> dict:
    rows = totals or [["2026-05", "Berlin", 3, "30.00"], ["2026-06", "Paris", 1, "5.50"]]
    return {
        "files": [
            {
                "file": "<img src='file:///etc/passwd'/> & orders.csv",
                "rows": 4,
                "left_out": left_out,
                "left_out_rows": [[7, "“x” is no date."]] * min(left_out, 20),
                "columns": {"date": "date", "amount": "net"},
                "notes": [],
            }
        ],
        "rows": 4,
        "left_out": left_out,
        "totals": rows,
    }


def pages(pdf: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", pdf))


def test_each_file_is_profiled_and_added_up(stored, logged):
    result = profile_orders(stored("berlin.csv", BERLIN))
    assert result["totals"] == [["2026-05", "Berlin", 1, "1234.50"], ["2026-06", "Berlin", 1, "0.50"]]
    assert result["columns"] == {"date": "date", "amount": "amount", "group": "shop"}
    assert (result["file"], result["rows"], result["left_out"]) == ("berlin.csv", 3, 1)
    assert result["left_out_rows"] == [[4, "“date” is missing."]]
    assert logged[:2] == [
        "The date is in the column “date”, the amount in “amount”.",
        "The orders are grouped by the column “shop”.",
    ]
    assert logged[-1] == "Line 4 is left out: “date” is missing."


def test_the_pdf_is_in_a_language_whose_letters_its_font_has(monkeypatch):
    said = []
    monkeypatch.setattr("demo.report_pdf._story", lambda *args: said.append(get_language()) or [])
    for language in ("de", "ar"):
        with override(language):
            report_pdf("Orders", {})
            assert get_language() == language
    assert said == ["de", "en"]


def test_without_a_column_of_shops_the_name_of_the_file_is_the_group(stored):
    result = profile_orders(stored("paris.csv", PARIS))
    assert result["totals"] == [["2026-05", "paris", 30, "300.00"]]
    assert result["left_out_rows"] == [[32, "“oops” is no amount."]]


def test_a_file_without_rows_has_no_totals(stored):
    result = profile_orders(stored("rome.csv", b"date,amount\n"))
    assert (result["totals"], result["notes"]) == ([], ["The file has no rows."])


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"a,b\n1,2\n", BadOrders, r"rome\.csv: No column holds what could be the date"),
        (
            b"date,amount\n" + b'2026-05-01,"1"\n' * 30 + b'2026-05-01,"1\n',
            BadCSV,
            r"rome\.csv: The record in line 32 has no end",
        ),
        (b"", BadCSV, r"rome\.csv: The file is empty"),
    ],
)
def test_a_bad_file_says_which_it_is(stored, data, error, message):
    with pytest.raises(error, match=message):
        profile_orders(stored("rome.csv", data))


def test_columns_that_were_named_are_used(stored):
    data = b"ordered,shipped,net,gross,town\n2026-05-01,2026-06-01,1.00,1.19,Rome\n"
    result = profile_orders(stored("a.csv", data), "shipped", "gross", "town")
    assert result["totals"] == [["2026-06", "Rome", 1, "1.19"]]


def test_files_become_one_report(stored, attached, logged):
    results = [profile_orders(stored("berlin.csv", BERLIN)), profile_orders(stored("paris.csv", PARIS))]
    shown = render_report(merge_orders(results), "Orders")
    assert set(attached) == {"report.pdf", "totals.csv"}
    assert attached["report.pdf"].startswith(b"%PDF-")
    assert attached["totals.csv"].decode().splitlines() == [
        "month,group,orders,total",
        "2026-05,Berlin,1,1234.50",
        "2026-05,paris,30,300.00",
        "2026-06,Berlin,1,0.50",
    ]
    assert (shown["orders"], shown["total"], shown["left_out"], shown["files"]) == (32, 1535.0, 2, 2)
    assert [row["name"] for row in shown["groups"]] == ["Berlin", "paris"]
    assert "34 rows in 2 files" in logged
    assert "2 rows are left out" in logged


def test_outside_a_job_it_just_returns():
    assert render_report(merged())["months"] == [
        {"name": "2026-05", "orders": 3, "total": 30.0},
        {"name": "2026-06", "orders": 1, "total": 5.5},
    ]


def test_names_with_other_characters_are_whole_in_the_csv(attached, logged):
    render_report(merged([["2026-05", "東京", 1, "1"]]))
    assert "東京" in attached["totals.csv"].decode()
    assert any("totals.csv has them all" in line for line in logged)


def test_a_spreadsheet_takes_no_name_for_a_formula():
    assert b"'=HYPERLINK" in totals_csv(Totals.from_json([["2026-05", "=HYPERLINK(1)", 1, "-2"]]))
    assert b",-2\r\n" in totals_csv(Totals.from_json([["2026-05", "A", 1, "-2"]]))


def test_the_page_shows_only_the_first_groups():
    many = [["2026-05", f"s{number:03}", 1, f"{number}"] for number in range(100)]
    shown = render_report(merged(many))
    assert (len(shown["groups"]), shown["groups_left_out"]) == (24, 76)
    assert shown["groups"][0]["name"] == "s099"


@pytest.mark.parametrize(("language", "heading"), [("de", "Nach Monat"), ("ar", "By month")])
def test_the_pdf_speaks_a_language_only_if_its_font_has_the_letters(monkeypatch, language, heading):
    texts, text = [], pdf_module._text
    monkeypatch.setattr(
        pdf_module, "_text", lambda *args, **kwargs: texts.append(args[0]) or text(*args, **kwargs)
    )
    with translation.override(language):
        assert translation.gettext("By month") != "By month"
        assert report_pdf("Report", merged()).startswith(b"%PDF-")
    assert heading in texts
    assert not any("?" in printable(text) for text in texts)


def test_names_are_text_and_no_markup(readable):
    pdf = report_pdf("<b>Bold</b> & <para>", merged())
    assert pages(pdf) == 1
    assert b"/Subtype /Image" not in pdf


@pytest.mark.parametrize(
    "totals",
    [
        [["2026-05", "A", 1, "0"]],
        [["2026-05", "A", 1, "-5"], ["2026-06", "A", 1, "-7"]],
        [["2026-05", "x" * 100, 10**9, "1" * 40]],
        [[f"{year}-{month:02}", "A", 1, "1.5"] for year in range(2000, 2020) for month in range(1, 13)],
        [["2026-05", f"shop {number}", 1, "2.5"] for number in range(300)],
    ],
    ids=["nothing", "refunds", "huge", "20 years", "300 shops"],
)
def test_any_totals_make_a_report(totals):
    assert report_pdf("Report", merged(totals)).endswith(b"%%EOF\n")


def test_a_long_report_has_several_pages(readable):
    many = [["2026-05", f"shop {number}", 1, "2.5"] for number in range(300)]
    assert 2 <= pages(report_pdf("Report", merged(many, left_out=30))) <= 4
    assert MOST_GROUPS < 300


def test_what_the_font_lacks_becomes_something_near():
    assert printable("Łódź, 東京 €") == "Łódz, ?? €"


def test_the_canvas_profiles_each_file_then_merges_then_renders(stored):
    files = [stored("berlin.csv", BERLIN), stored("paris.csv", PARIS)]
    job = start(monthly_report(files, "Orders", "", "", "shop"))
    group, merge, render = job.members.order_by("position")
    assert [row.title for row in group.members.order_by("position")] == ["berlin.csv", "paris.csv"]
    assert (merge.task, render.task) == (merge_orders.name, render_report.name)
    assert render.signature["args"] == ["Orders"]


def test_one_file_is_a_list_of_one(stored):
    job = start(monthly_report([stored("berlin.csv", BERLIN)]))
    group, _merge, _render = job.members.order_by("position")
    assert group.canvas == "group"


def posted(*uploads, **data) -> MonthlyReportForm:
    return MonthlyReportForm(data, MultiValueDict({"orders": list(uploads)}))


def upload(name="berlin.csv", data=BERLIN):
    return SimpleUploadedFile(name, data)


def test_the_form_asks_for_files_alone():
    form = posted(upload(), upload("paris.csv", PARIS))
    assert form.is_valid(), form.errors
    assert form.cleaned_data["orders"][1].read() == PARIS
    assert form.cleaned_data["date"] == ""


def test_the_form_says_which_files_are_bad():
    errors = posted(upload(), upload("book.xlsx", b"PK\x03\x04"), upload("empty.csv", b"")).errors["orders"]
    assert errors[0].startswith("book.xlsx: This is a ZIP archive, not a CSV file")
    assert errors[1].startswith("empty.csv: The file is empty")


def test_the_form_needs_a_file():
    assert posted().errors["orders"] == ["This field is required."]


def test_it_can_be_started_from_a_page():
    entry = startables["monthly-report"]
    assert (entry.origin, entry.form) == ("demo.monthly_report.monthly_report", MonthlyReportForm)


def test_the_page_shows_the_report():
    template = startables["monthly-report"].result_template
    html = render_to_string(template, {"job": SimpleNamespace(result=render_report(merged(left_out=3)))})
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "Files 1, rows 4, orders 4, total 35.5." in text
    assert "Rows that were left out: 3." in text
    assert "2026-05 3 30" in text
    assert "Berlin 3 30" in text
    assert render_to_string(template, {"job": SimpleNamespace(result=None)}).strip() == ""


@pytest.mark.workers
@pytest.mark.django_db(transaction=True)
def test_a_worker_makes_the_report(worker, stored, alice):
    files = [stored("berlin.csv", BERLIN), stored("paris.csv", PARIS)]
    whole = ended(start(monthly_report(files), owner=alice), 60)
    assert whole.state == State.SUCCEEDED, whole.error
    assert whole.result["total"] == 1535.0
    made = Attachment.objects.filter(job__root=whole, role="output")
    assert sorted(made.values_list("name", flat=True)) == ["report.pdf", "totals.csv"]


@pytest.mark.workers
@pytest.mark.django_db(transaction=True)
def test_a_bad_file_ends_it_with_its_name(worker, stored, alice):
    files = [stored("berlin.csv", BERLIN), stored("bad.csv", b"a,b\n1,2\n")]
    whole = ended(start(monthly_report(files), owner=alice), 60)
    assert whole.state == State.FAILED
    assert Job.objects.get(root=whole, title="bad.csv").error.startswith("bad.csv: No column")


@pytest.mark.workers
@pytest.mark.django_db(transaction=True)
def test_it_is_started_from_its_page(worker, client, alice):
    client.force_login(alice)
    data = {"orders": [upload(), upload("paris.csv", PARIS)], "heading": "Orders of spring"}
    response = client.post("/jobs/new/monthly-report/", data)
    assert response.status_code == 302, response.content.decode()
    whole = ended(Job.objects.get(startable="monthly-report"), 60)
    assert whole.state == State.SUCCEEDED, whole.error
    page = client.get(whole.get_absolute_url()).content.decode()
    assert "1,535" in page
    assert "report.pdf" in page
