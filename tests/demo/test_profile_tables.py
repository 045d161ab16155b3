import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.profile_tables import columns_csv, defused, ragged_csv
from demo.ragged_rows import RaggedRows
from tests.demo.streams import profiled


def read(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "+1+1",
        "-1-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "-",
        "＝1+1",
        "+49 176",
        "-2;=1",
        "=",
        "-1e5x",
    ],
)
def test_formulas_are_defused(cell):
    assert defused(cell) == f"'{cell}"


@pytest.mark.parametrize(
    "cell", ["", "a", "1", "-1", "+1.5", "-1,234.5", "-.5", "-1.5e-10", "1=1", "a@b.c", "2024-01-31"]
)
def test_numbers_and_other_text_stay(cell):
    assert defused(cell) == cell


@given(st.text())
@settings(deadline=None)
def test_no_cell_begins_like_a_formula(cell):
    written = defused(cell)
    assert written.endswith(cell)
    if written.lstrip()[:1] in {"=", "@", "＝", "＠"}:
        pytest.fail(written)


def test_a_row_per_column():
    columns = profiled("age,name\n36,Ada\n41,Alan\n,Ada\n").values()
    age, name = read(columns_csv(columns))
    assert (age["column"], age["type"], age["rows"], age["nulls"]) == ("age", "integer", "3", "1")
    assert (age["min"], age["max"], age["mean"], age["sum"]) == ("36", "41", "38.5", "77")
    assert (name["most_frequent_1"], name["count_1"], name["most_frequent_3"]) == ("Ada", "2", "")
    assert (name["min_length"], name["max_length"], age["max_length"]) == ("3", "4", "")


def test_numbers_are_as_exact_as_they_are_known():
    columns = profiled(
        f"big,money,third,tiny\n{10**38 + 1},1250.00,1,1e-60\n{10**38 + 1},1250.00,0,1e-60\n,,0,\n"
    )
    big, money, third, tiny = read(columns_csv(columns.values()))
    assert big["mean"] == str(10**38 + 1)
    assert (money["min"], money["sum"]) == ("1250.00", "2500.00")
    assert third["mean"] == "0.3333333333333333333333333333"
    assert tiny["max"] == "1E-60"


def test_dates_are_written_in_iso_8601():
    (_identity, day, zoned) = read(
        columns_csv(
            profiled(
                "id,day,moment\n1,31.01.2024,2024-01-31T10:00Z\n2,01.01.2024,2024-01-31T09:00Z\n"
            ).values()
        )
    )
    assert day["min"] == "2024-01-01"
    assert zoned["max"] == "2024-01-31T10:00:00Z"


def test_names_and_values_are_defused():
    columns = profiled('"=cmd|x","@b"\n=1+1,-5\n+1+1,-6\n').values()
    first, second = read(columns_csv(columns))
    assert (first["column"], second["column"]) == ("'=cmd|x", "'@b")
    assert {first["min"], first["max"]} == {"'=1+1", "'+1+1"}
    assert (second["min"], second["most_frequent_1"]) == ("-6", "-5")


def test_ragged_rows_under_the_names_of_the_columns():
    ragged = RaggedRows(width=2)
    ragged.fit(["1"], 7)
    ragged.fit(["2", "=3", "4", "five,\nsix"], 9)
    short, long = read(ragged_csv(ragged, ["a", "=b"]))
    assert (short["line"], short["fields"], short["a"], short["'=b"]) == ("7", "1", "1", None)
    assert list(long.values()) == ["9", "4", "2", "'=3", "4", "five,\nsix"]
    assert list(long)[4:] == ["surplus 1", "surplus 2"]
