import pytest
from django.utils import translation

from demo.templatetags.figures import figure, share, type_label


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (None, None, "–"),
        ("", None, "–"),
        (0, None, "0"),
        (1234567, None, "1,234,567"),
        (-1234, 4, "-1,234"),
        (2498.52231879, 4, "2,498.5223"),
        (0.0012345678, 4, "0.001235"),
        (1.0, 4, "1.0"),
        (0.0, 4, "0.0"),
        (0.1, None, "0.1"),
        (1e-9, 4, "1e-09"),
        (1e300, None, "1e+300"),
        (10**20, None, "100,000,000,000,000,000,000"),
        (-(10**40), 4, "-1e+40"),
        ("2024-01-31", None, "2024-01-31"),
        ("<b>", 4, "<b>"),
    ],
)
def test_figures(value, digits, text):
    assert figure(value, digits) == text


def test_figures_are_those_of_the_language():
    with translation.override("de"):
        assert figure(1234567.5) == "1.234.567,5"
        assert share(1, 8) == "12,5\xa0%"


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 0, "–"), (0, 8, "0.0\xa0%"), (1, 8, "12.5\xa0%"), (8, 8, "100.0\xa0%"), (1, 100_000, "< 0.1\xa0%")],
)
def test_shares(part, whole, text):
    assert share(part, whole) == text


def test_type_labels():
    assert type_label("datetime") == "date and time"
