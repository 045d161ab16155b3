import pytest

from demo.bad_csv import BadCSV
from demo.csv_header import MAX_COLUMNS, MAX_NAME_CHARS, find_header


def test_names():
    header = find_header([["id", " full \n name "], ["1", "Ada"]])
    assert header.names == ("id", "full name")
    assert (header.records, header.unnamed, header.renamed, header.looks_like_data) == (1, 0, 0, False)


def test_empty_names_are_called_by_their_place():
    header = find_header([["", "a", "  "]])
    assert header.names == ("column 1", "a", "column 3")
    assert header.unnamed == 2


def test_duplicated_names_get_a_number():
    header = find_header([["a", "a", "a", "b"]])
    assert header.names == ("a", "a 2", "a 3", "b")
    assert header.renamed == 2


def test_a_number_that_is_taken_is_not_given():
    names = find_header([["a", "a 2", "a", "a 2", "column 5", ""]]).names
    assert len(set(names)) == 6
    assert names[:2] == ("a", "a 2")


def test_long_names_are_cut_and_stay_unique():
    names = find_header([["x" * 500, "x" * 600]]).names
    assert len(set(names)) == 2
    assert len(names[0]) == MAX_NAME_CHARS


def test_rows_without_anything_before_the_header_are_skipped():
    header = find_header([["", ""], [" ", ""], ["a", "b"]])
    assert (header.names, header.records) == (("a", "b"), 3)


@pytest.mark.parametrize(("row", "like"), [(["1", "2.5", "2024-01-31"], True), (["id", "2024"], False)])
def test_a_header_that_looks_like_data_is_noted(row, like):
    assert find_header([row]).looks_like_data is like


def test_no_columns():
    with pytest.raises(BadCSV, match="no columns"):
        find_header([["", "", ""], ["", "", ""]])


def test_only_blanks():
    with pytest.raises(BadCSV, match="only blank space"):
        find_header([[" "], ["\t"]])


def test_too_many_columns():
    assert len(find_header([["x"] * MAX_COLUMNS]).names) == MAX_COLUMNS
    with pytest.raises(BadCSV, match="2001 columns, the limit is 2000"):
        find_header([["x"] * (MAX_COLUMNS + 1)])
