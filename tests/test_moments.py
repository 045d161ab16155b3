"""Times and figures as people of each language write them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from django.template import Context, Template
from django.utils import timezone, translation

from status.moments import written
from status.wording import amount, duration, percent, rate

NOON = datetime(2026, 5, 4, 12, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("j M Y, H:i", "4 May 2026, 12:00"),
        ("j M Y, H:i:s T", "4 May 2026, 12:00:05 UTC"),
        ("j M, H:i", "4 May, 12:00"),
        ("D H:i", "Mon 12:00"),
        ("H:i:s", "12:00:05"),
    ],
)
def test_a_time_is_written(form, text):
    assert written(NOON, form) == text


@pytest.mark.parametrize(("language", "month"), [("de", "Mai"), ("ar", "مايو")])
def test_a_time_is_written_in_the_language_and_the_zone_of_who_reads(language, month):
    with translation.override(language), timezone.override(ZoneInfo("Asia/Tokyo")):
        text = written(NOON, "j M Y, H:i T")
        html = Template("{% load status %}{% moment at %}").render(Context({"at": NOON}))
    assert month in text
    assert "21:00 JST" in text
    assert month in html
    assert 'datetime="2026-05-04T12:00:05+00:00"' in html


def test_the_form_itself_is_translated(monkeypatch):
    form = "j M Y, H:i"
    monkeypatch.setitem(
        translation.trans_real.translation("de")._catalog._catalogs[0],
        f"a time, in the letters of Django's date filter\x04{form}",
        "j. F Y, H:i",
    )
    with translation.override("de"):
        assert written(NOON, form) == "4. Mai 2026, 12:00"


@pytest.mark.parametrize(
    ("language", "figures"),
    [
        ("en", ["1,204,567", "3.5", "0.07"]),
        ("de", ["1.204.567", "3,5", "0,07"]),
        ("ar", ["1.204.567", "3,5", "0,07"]),
    ],
)
def test_figures_have_the_separators_of_the_language_and_one_kind_of_digits(language, figures):
    """Django writes Arabic with the digits 0 to 9, in dates and sizes as well; so do we."""
    with translation.override(language):
        assert [amount(1_204_567), rate(3.5), rate(0.07)] == figures
        assert not set("٠١٢٣٤٥٦٧٨٩") & set(percent(43) + duration(4.25) + written(NOON, "j M Y, H:i"))


def test_a_percentage_is_as_the_catalog_says():
    assert (percent(43), percent(None)) == ("43%", "")
    with translation.override("de"):
        assert percent(43) == translation.gettext("%d%%") % 43
