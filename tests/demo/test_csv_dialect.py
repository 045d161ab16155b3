import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.csv_dialect import DELIMITERS, Dialect, detect_dialect
from tests.demo.streams import written

SINGLE = Dialect().delimiter


def found(sample: str) -> Dialect:
    return detect_dialect(sample, complete=True)


def read(sample: str) -> list[list[str]]:
    return list(csv.reader(sample.splitlines(keepends=True), **found(sample).options()))


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("lineterminator", ["\n", "\r\n", "\r"])
def test_each_delimiter_with_each_quoting_and_line_end(delimiter, quoting, lineterminator):
    rows = [
        ["id", "name", "note"],
        ["1", "Ada", f"a{delimiter}b"],
        ["2", "Alan", 'say "hi"'],
        ["3", "Eve", "x\ny"],
    ]
    sample = written(rows, delimiter=delimiter, quoting=quoting, lineterminator=lineterminator)
    assert found(sample).delimiter == delimiter
    assert found(sample).quote == '"'


@pytest.mark.parametrize(
    ("sample", "delimiter"),
    [
        ("a;b;c\n1,5;2,5;x\n2,5;3,5;y\n", ";"),
        ("a;b\n1,5;2,5\n", ";"),
        ("date;amount\n01.02.2024;1.234,56\n02.02.2024;2.345,67\n", ";"),
        ("time,b,c\n12:30:00,foo,bar\n12:31:00,foo,baz\n", ","),
        ("ts,v\n2024-01-01 10:00:00,1\n2024-01-01 10:00:01,2\n", ","),
        ("id\ttext\n1\tHello, world, and all\n2\tfoo, bar\n", "\t"),
        ("id;tags\n1;a,b,c\n2;a,b\n3;x\n", ";"),
        ("id,tags\n1,a;b;c\n2,d;e;f\n3,x;y;z\n", ","),
        ("a|b|c\n1|2,5|3\n2|3,5|4\n", "|"),
        ("root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n", ":"),
        ("ip,port\nfe80::1,80\n::1,443\n", ","),
        ("id,url\n1,http://a.b/c?x=1;y=2\n2,http://d.e/f\n", ","),
        ("Report of May\n\nname,age,city\nJoe,3,X\nAnn,4,Y\nBob,5,Z\n", ","),
        ("a,b,c\n1,2\n1,2,3\n1\n4,5,6\n", ","),
        ("a,b,c\n,,\n1,,\n,,2\n", ","),
        ("a,b,c", ","),
    ],
)
def test_the_delimiter_among_others_that_occur(sample, delimiter):
    assert found(sample).delimiter == delimiter


@pytest.mark.parametrize(
    "sample",
    [
        "id\n1\n2\n3\n",
        "time\n12:30\n12:31\n",
        "moment\n2024-01-01 12:30:00\n2024-01-01 12:31:00\n",
        "price\n1,5\n2,5\n3,5\n",
        "comment\nHello, world\nFoo\nBar, baz\nqux\n",
        "url\nhttp://a.b/c\nhttp://d.e/f\n",
        "mac\n00:1a:2b:3c:4d:5e\n00:1a:2b:3c:4d:5f\n",
    ],
)
def test_a_single_column(sample):
    assert found(sample).is_single_column
    assert {len(row) for row in read(sample)} == {1}


def test_single_quotes():
    sample = "a,b\n'x, y',1\n'z, w',2\n"
    assert found(sample).quote == "'"
    assert read(sample)[1] == ["x, y", "1"]


def test_apostrophes_are_no_quotes():
    assert found("a,b\nit's,1\ndon't,2\n'tis,3\n").quote == '"'


def test_quotes_that_never_close_are_text():
    sample = 'id\ttext\n1\t"Hello, he said\n' + "".join(f"{number}\tfoo\n" for number in range(20))
    assert found(sample) == Dialect(delimiter="\t", quote="")


def test_inches_are_no_quotes():
    assert read('item,size\npipe,5"\nbolt,3"\nnut,1"\n')[1] == ["pipe", '5"']


def test_a_backslash_before_quotes():
    assert read('a,b\n"say \\"hi\\", ok",1\n"x",2\n')[1] == ['say "hi", ok', "1"]


def test_doubled_quotes():
    assert read('id,data\n1,"{""a"": 1, ""b"": 2}"\n2,"{""a"": 3}"\n')[1] == ["1", '{"a": 1, "b": 2}']


def test_a_space_before_opening_quotes():
    assert read('a, b, c\n1, "x, y", 3\n2, "z", 4\n')[1] == ["1", "x, y", "3"]


def test_the_separator_line_of_excel():
    dialect = found("sep=|\na|b,c\n1|2,5\n")
    assert (dialect.delimiter, dialect.separator_line) == ("|", True)


def test_a_row_that_the_sample_cuts_does_not_count():
    sample = "a,b,c\n1,2,3\n4,5,6\n7"
    assert detect_dialect(sample, complete=False) == detect_dialect("a,b,c\n1,2,3\n4,5,6\n", complete=True)


def test_a_quoted_field_that_the_sample_cuts_does_not_count():
    sample = 'a,b\n"x","y"\n"x","y"\n"x","a long\ntext that, as it is'
    assert detect_dialect(sample, complete=False) == Dialect(delimiter=",")


WORDS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)


@given(
    rows=st.integers(2, 6).flatmap(
        lambda width: st.lists(st.lists(WORDS, min_size=width, max_size=width), min_size=2)
    ),
    delimiter=st.sampled_from(DELIMITERS),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
@settings(deadline=None)
def test_any_table_of_words_is_read_as_it_was_written(rows, delimiter, quoting):
    sample = written(rows, delimiter=delimiter, quoting=quoting, lineterminator="\n")
    assert list(csv.reader(sample.splitlines(keepends=True), **found(sample).options())) == rows
