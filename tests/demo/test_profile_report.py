import json
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction

import pytest

from demo.csv_profile import profile_table
from demo.profile_report import (
    MAX_SUMMARY_COLUMNS,
    ProfileReport,
    column_facts,
    profile_json,
    summary,
    wire_value,
)
from demo.ragged_rows import RaggedRows
from tests.demo.streams import detect, profiled


def report_of(data: str) -> ProfileReport:
    source = detect(data)
    ragged = RaggedRows(len(source.header.names))
    rows = source.count_rows()
    columns = profile_table(source, ragged)
    return ProfileReport(
        name="people.csv",
        size=len(data),
        source=source,
        rows=rows,
        columns=columns,
        ragged=ragged,
        warnings=["A warning."],
    )


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (None, None),
        (10**40, 10**40),
        (Decimal("12.50"), 12.5),
        (Fraction(4, 2), 2),
        (Fraction(1, 4), 0.25),
        ("text", "text"),
        (date(2024, 1, 31), "2024-01-31"),
        (datetime.fromisoformat("2024-01-31 10:00"), "2024-01-31T10:00:00"),
    ],
)
def test_values_on_the_wire(value, wire):
    assert wire_value(value) == wire
    assert type(wire_value(value)) is type(wire)


def test_moments_with_zones_say_so():
    assert wire_value(datetime.fromisoformat("2024-01-31 10:00"), zoned=True) == "2024-01-31T10:00:00Z"


def test_the_json_file_holds_everything():
    facts = json.loads(profile_json(report_of("id,größe\n1,x\n2,\n\n3\n")))
    assert facts["file"] == {
        "name": "people.csv",
        "size": 19,
        "encoding": "UTF-8",
        "encoding_guessed": False,
        "byte_order_mark": False,
        "delimiter": ",",
        "delimiter_name": "comma",
        "quote": '"',
    }
    assert (facts["rows"], facts["blank_lines"], facts["warnings"]) == (3, 1, ["A warning."])
    assert facts["ragged_rows"] == {"count": 1, "too_short": 1, "too_long": 0, "kept": 1}
    assert [column["name"] for column in facts["columns"]] == ["id", "größe"]
    assert facts["columns"][0]["mean"] == 2
    assert facts["columns"][1]["null_tokens"] == {"": 2}


def test_the_facts_of_a_column():
    facts = column_facts(profiled("id,v\n" + "1,5\n" * 99 + "2,x\n")["v"])
    assert facts["type"] == "integer"
    assert (facts["off"], facts["off_examples"]) == (1, ["x"])
    assert (facts["distinct"], facts["distinct_exact"], facts["distinct_standard_error"]) == (2, True, 0.0)
    assert facts["most_frequent"][0] == {"value": "5", "count": 99, "count_error": 0}
    assert (facts["sum"], facts["min_length"]) == (495, None)


def test_the_summary_is_bounded_for_wide_and_wordy_files():
    names = ",".join(f"{'long name' * 10} {number}" for number in range(2_000))
    words = ",".join(["word " * 100] * 2_000)
    result = summary(report_of(f"{names}\n{words}\n"))
    assert (result["column_count"], result["columns_left_out"]) == (2_000, 2_000 - MAX_SUMMARY_COLUMNS)
    assert len(result["columns"]) == MAX_SUMMARY_COLUMNS
    assert len(json.dumps(result)) < 250_000
    assert result["columns"][0]["min"].endswith("…")
