from demo.csv_profile import profile_table
from demo.profile_warnings import profile_warnings, source_warnings
from demo.ragged_rows import RaggedRows
from tests.demo.streams import detect


def warnings_of(data: str | bytes, encoding: str = "utf-8") -> list[str]:
    source = detect(data, encoding)
    ragged = RaggedRows(len(source.header.names))
    source.count_rows()
    columns = profile_table(source, ragged)
    return [*source_warnings(source), *profile_warnings(columns, ragged)]


def test_a_clean_file_has_none():
    assert warnings_of("id,name\n1,Ada\n2,Alan\n") == []


def test_a_guessed_encoding():
    assert warnings_of("id,name\n1,Zoë\n", "cp1252") == [
        "The text is not UTF-8; that it is Windows-1252 is a guess."
    ]


def test_the_header():
    assert warnings_of("a,a,,b\n1,2,3,4\n") == [
        "1 column has no name in the header; it is called by its place.",
        "1 column has the name of another one; a number was added to it.",
    ]
    assert warnings_of("1,2\n3,4\n") == ["The first row looks like data, but was taken for the header."]


def test_blank_lines():
    assert warnings_of("a,b\n1,2\n\n\n3,4\n") == ["2 blank lines were skipped."]


def test_ragged_rows_are_one_warning():
    assert warnings_of("a,b\n" + "1,2\n" * 9 + "1\n" * 3 + "1,2,3\n" * 2) == [
        "5 rows do not have 2 fields: 3 have too few, which count as missing, and 2 too many, which were left out;"
        " see ragged.csv."
    ]


def test_values_that_are_off():
    assert warnings_of("id,v\n" + "x,5\n" * 99 + "y,none at all\n") == [
        "Column “v”: 1 of 100 values is not of type integer, namely “none at all”."
    ]


def test_doubtful_columns_are_named_up_to_a_bound():
    names = ",".join(f"day {number}" for number in range(15))
    days = ",".join(["01/02/2024"] * 15)
    warnings = warnings_of(f"{names}\n{days}\n")
    assert len(warnings) == 11
    assert warnings[0].startswith("Column “day 0”: Day and month were read in this order")
    assert warnings[-1] == "5 more such warnings are in profile.json."
