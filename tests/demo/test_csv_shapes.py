from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.csv_shapes import SHAPES
from demo.csv_values import Form, Value, read

moment = datetime.fromisoformat


def forms_of(text: str) -> dict[Form, list[Value]]:
    return {reading.form: list(reading.values) for reading in read([text], [*SHAPES]) if reading.texts}


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("0", {Form.INTEGER: [0]}),
        ("-12", {Form.INTEGER: [-12]}),
        ("+12", {Form.INTEGER: [12]}),
        ("9" * 40, {Form.INTEGER: [int("9" * 40)]}),
        ("007", {Form.CODE: [7]}),
        ("+4917612345678", {Form.CODE: [4917612345678]}),
        ("1.50", {Form.DECIMAL: [Decimal("1.50")]}),
        ("-.5", {Form.DECIMAL: [Decimal("-0.5")]}),
        ("1e5", {Form.DECIMAL: [Decimal(100000)]}),
        ("2.5E-03", {Form.DECIMAL: [Decimal("0.0025")]}),
        ("1.234", {Form.DECIMAL: [Decimal("1.234")], Form.DOTTED_INTEGER: [1234]}),
        ("0.123", {Form.DECIMAL: [Decimal("0.123")]}),
        ("1,234", {Form.GROUPED_INTEGER: [1234], Form.COMMA_DECIMAL: [Decimal("1.234")]}),
        ("1,234,567", {Form.GROUPED_INTEGER: [1234567]}),
        ("1,234.5", {Form.GROUPED_DECIMAL: [Decimal("1234.5")]}),
        ("1,5", {Form.COMMA_DECIMAL: [Decimal("1.5")]}),
        ("0,123", {Form.COMMA_DECIMAL: [Decimal("0.123")]}),
        ("1.234,5", {Form.COMMA_DECIMAL: [Decimal("1234.5")]}),
        ("1.234.567", {Form.DOTTED_INTEGER: [1234567]}),
        ("true", {Form.BOOLEAN: []}),
        ("No", {Form.BOOLEAN: []}),
        ("2024-02-29", {Form.DATE: [date(2024, 2, 29)]}),
        ("2024/2/9", {Form.DATE: [date(2024, 2, 9)]}),
        ("31.01.2024", {Form.DAY_FIRST_DATE: [date(2024, 1, 31)]}),
        ("31/1/24", {Form.DAY_FIRST_DATE: [date(2024, 1, 31)]}),
        ("31.12.69", {Form.DAY_FIRST_DATE: [date(1969, 12, 31)]}),
        ("12/31/2024", {Form.MONTH_FIRST_DATE: [date(2024, 12, 31)]}),
        ("01-02-2024", {Form.DAY_FIRST_DATE: [date(2024, 2, 1)], Form.MONTH_FIRST_DATE: [date(2024, 1, 2)]}),
        ("2024-01-31 10:30", {Form.DATETIME: [moment("2024-01-31T10:30:00")]}),
        ("2024-01-31T10:30:15.5", {Form.DATETIME: [moment("2024-01-31T10:30:15.500000")]}),
        ("2024-01-31T10:30Z", {Form.DATETIME: [datetime(2024, 1, 31, 10, 30, tzinfo=UTC)]}),
        (
            "2024-01-31 10:30:00 -0530",
            {
                Form.DATETIME: [
                    datetime(2024, 1, 31, 10, 30, tzinfo=timezone(-timedelta(hours=5, minutes=30)))
                ]
            },
        ),
        ("31.01.2024, 7:05", {Form.DAY_FIRST_DATETIME: [moment("2024-01-31T07:05:00")]}),
        ("1/31/2024 12:05 AM", {Form.MONTH_FIRST_DATETIME: [moment("2024-01-31T00:05:00")]}),
        ("1/31/2024 1:05:09 p.m.", {Form.MONTH_FIRST_DATETIME: [moment("2024-01-31T13:05:09")]}),
    ],
)
def test_what_is_read(text, forms):
    assert forms_of(text) == forms


NEITHER = """
    x|1 2|1_000|0x1F|inf|nan1|--1|+-1|.|-|1.|1e999|00.5|1,23,456|1,2345.6|1.23.456|5 %|12:30
    192.168.100.200|10.0.0.1|1.2.3|2024-02-30|2023-02-29|0000-01-01|2024-13-01|32.01.2024|13/13/2024
    1/2/3|01-02-24|2024-01-31 24:00|2024-01-31 10:60|1/31/2024 13:05 PM|2024-01-31 10|2024-01-31x10:00
"""


@pytest.mark.parametrize(
    "text", [*NEITHER.replace("\n    ", "|").strip("|\n").split("|"), "9" * 41, "١٢٣", "1\n2"]
)
def test_what_is_only_text(text):
    assert forms_of(text) == {}


@given(st.integers(-(10**39), 10**39))
@settings(deadline=None)
def test_any_integer_is_read(number):
    forms = forms_of(str(number))
    assert forms == {Form.INTEGER: [number]}


@given(st.integers(-(10**39), 10**39).filter(lambda number: abs(number) >= 1000))
@settings(deadline=None)
def test_any_integer_in_groups_is_read(number):
    assert forms_of(f"{number:,}")[Form.GROUPED_INTEGER] == [number]


@given(st.decimals(-(10**30), 10**30, places=2))
@settings(deadline=None)
def test_any_decimal_is_read_with_point_and_comma(number):
    written = f"{number:.2f}"
    assert forms_of(written) == {Form.DECIMAL: [number]}
    assert forms_of(written.replace(".", ",")) == {Form.COMMA_DECIMAL: [number]}


@given(st.dates())
@settings(deadline=None)
def test_any_date_is_read(day):
    assert forms_of(day.isoformat()) == {Form.DATE: [day]}
    assert forms_of(f"{day.day}.{day.month}.{day.year:04}") == {Form.DAY_FIRST_DATE: [day]}
    assert forms_of(f"{day.month:02}/{day.day:02}/{day.year:04}")[Form.MONTH_FIRST_DATE] == [day]


@given(st.datetimes(timezones=st.none() | st.just(UTC) | st.just(timezone(timedelta(hours=5, minutes=45)))))
@settings(deadline=None)
def test_any_moment_is_read(value):
    assert forms_of(value.isoformat()) == {Form.DATETIME: [value]}
    assert forms_of(value.isoformat(sep=" ")) == {Form.DATETIME: [value]}


@given(
    st.lists(
        st.sampled_from(["1", "x", "2.5", "yes", "2024-01-31", "31.01.2024", "1,5", "007", "a b"]),
        unique=True,
    )
)
@settings(deadline=None)
def test_a_list_is_read_like_its_texts(texts):
    shapes = [*SHAPES]
    together: dict[Form, set[str]] = {}
    for reading in read(texts, shapes):
        together.setdefault(reading.form, set()).update(reading.texts)
        assert reading.form is Form.BOOLEAN or len(reading.texts) == len(reading.values)
    apart: dict[Form, set[str]] = {}
    for text in texts:
        for form in forms_of(text):
            apart.setdefault(form, set()).add(text)
    assert together == apart
    assert set(map(id, shapes)) == set(map(id, SHAPES))


def test_what_was_found_is_tried_first_the_next_time():
    shapes = [*SHAPES]
    list(read(["2024-01-31 10:30:00"], shapes))
    assert shapes[0].form is Form.DATETIME
