import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo import csv_records, csv_text
from demo.bad_csv import BadCSV
from demo.csv_encoding import BLOCK_BYTES, Encoding
from demo.csv_source import CSVSource, check_head
from demo.ragged_rows import MAX_KEPT, RaggedRow, RaggedRows
from tests.demo.streams import detect, opener, rows_of, written


def ragged_of(data: str) -> RaggedRows:
    source = detect(data)
    ragged = RaggedRows(len(source.header.names))
    for _batch in source.batches(ragged):
        pass
    return ragged


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ":"])
@pytest.mark.parametrize("lineterminator", ["\n", "\r\n", "\r"])
def test_what_was_written_is_read(codec, delimiter, lineterminator):
    rows = [
        ["id", "name", "note"],
        ["1", "Ada", "x\ny"],
        ["2", "Zoë", f"a{delimiter}b"],
        ["3", "", 'say "hi"'],
    ]
    # Quoted throughout: the writer leaves a line feed unquoted where lines end in carriage returns.
    text = written(rows, delimiter=delimiter, lineterminator=lineterminator, quoting=csv.QUOTE_ALL)
    data = text.encode(codec)
    assert detect(data).header.names == ("id", "name", "note")
    assert rows_of(data) == rows[1:]


CELLS = st.text(st.characters(categories=["L", "N", "P", "Zs"], exclude_characters="\\"), max_size=12)


@given(st.lists(st.lists(CELLS | st.just("two\nlines"), min_size=3, max_size=3), max_size=30))
@settings(deadline=None)
def test_any_table_is_read_as_it_was_written(rows):
    header = ["first name", "second name", "third name"]
    source = CSVSource(
        opener(written([header, *rows], quoting=csv.QUOTE_ALL)),
        Encoding(name="utf-8"),
        detect(written([header, ["a", "b", "c"]], quoting=csv.QUOTE_ALL)).dialect,
        detect(written([header])).header,
    )
    assert [row for batch in source.batches(RaggedRows(3)) for row in batch] == rows
    assert source.count_rows() == len(rows)


FRAGMENTS = [
    b",",
    b";",
    b"\t",
    b"\n",
    b"\r\n",
    b"\r",
    b'"',
    b"'",
    b"\\",
    b" ",
    b"1",
    b"2.5",
    b"x",
    b"sep=",
    b"\x0b",
]
ANYTHING = st.lists(
    st.sampled_from([*FRAGMENTS, b"NA", b"\xe9", "é東".encode(), b"\0", b"\x1f"]), max_size=60
)


@given(ANYTHING.map(b"".join), st.integers(1, 9))
@settings(deadline=None, max_examples=200)
def test_any_bytes_are_read_or_refused_whatever_the_blocks(data, block):
    def outcome() -> object:
        try:
            return detect(data).header, rows_of(data)
        except BadCSV as error:
            return str(error)

    at_once = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_text, "BLOCK_BYTES", max(block, len(data) // 2))
        assert outcome() == at_once


def test_a_header_alone_is_a_table_without_rows():
    assert detect("a,b\n").header.names == ("a", "b")
    assert rows_of("a,b\n") == []


def test_a_single_column():
    assert rows_of("id\n1\n\n2") == [["1"], ["2"]]


def test_blank_lines_are_skipped_and_counted():
    source = detect('a,b\n\n1,2\r\n\r\n"3\n",4\n\n')
    assert source.count_rows() == 2
    assert source.blank_lines == 3


def test_rows_of_empty_fields_are_rows():
    assert rows_of("a,b\n,\n1,2\n") == [["", ""], ["1", "2"]]


def test_the_separator_line_of_excel_is_no_row():
    assert detect("sep=;\na;b\n1;2\n").header.names == ("a", "b")
    assert rows_of("sep=;\na;b\n1;2\n") == [["1", "2"]]
    assert ragged_of("sep=;\na;b\n1;2\n3\n").kept == [RaggedRow(4, 1, ("3",))]


def test_a_quoted_field_across_blocks_is_whole():
    field = "line, with comma\n" * (BLOCK_BYTES // 12)
    rows = [["a", "b"], *[["1", "2"]] * 20_000, ["1", field], ["2", "x"]]
    assert rows_of(written(rows)) == rows[1:]


def test_a_header_longer_than_a_block():
    names = [f"{'long name ' * 19}{number}" for number in range(1_900)]
    assert len(",".join(names)) > BLOCK_BYTES
    data = written([names, range(1_900)])
    assert detect(data).header.names == tuple(names)
    assert len(rows_of(data)) == 1


def test_quotes_that_begin_far_in_the_file_are_honoured_by_both_passes():
    rows = [["a", "b"], *[["1", "plain"]] * (2 * BLOCK_BYTES // 8), ["2", "two\nlines"], ["3", "x"]]
    assert rows_of(written(rows)) == rows[1:]


def test_every_batch_is_small():
    source = detect(written([["a", "b"], *[["1", "2"]] * 5_000]))
    assert max(len(batch) for batch in source.batches(RaggedRows(2))) <= 1_000


def test_ragged_rows_are_made_to_fit_and_kept_as_they_were():
    data = "a,b,c\n1,2,3\n\n4,5\n6,7,8,9\n10\n11,12,13\n"
    assert rows_of(data) == [
        ["1", "2", "3"],
        ["4", "5", ""],
        ["6", "7", "8"],
        ["10", "", ""],
        ["11", "12", "13"],
    ]
    ragged = ragged_of(data)
    assert (ragged.count, ragged.short, ragged.long) == (3, 2, 1)
    assert ragged.kept == [
        RaggedRow(4, 2, ("4", "5")),
        RaggedRow(5, 4, ("6", "7", "8", "9")),
        RaggedRow(6, 1, ("10",)),
    ]


def test_lines_of_ragged_rows_count_those_inside_quotes():
    data = 'a,b\n"x\ny\r\nz",1\n2\n"p\nq"\n3,4,5\n' + '"6","7"\n' * 20
    assert [row.line for row in ragged_of(data).kept] == [5, 6, 8]


def test_many_ragged_rows_are_counted_and_the_first_kept():
    ragged = ragged_of("a,b,c\n" + "1,2\n" * 3_000)
    assert ragged.count == 3_000
    assert len(ragged.kept) == MAX_KEPT
    assert ragged.kept[-1].line == MAX_KEPT + 1


def test_ragged_rows_are_kept_within_bounds_of_memory():
    ragged = RaggedRows(width=2)
    for line in range(2_000):
        ragged.fit(["x" * 10_000] * 500, line)
    assert ragged.count == 2_000
    assert sum(len(field) for row in ragged.kept for field in row.fields) < 1_100_000
    assert ragged.kept[0].width == 500


@pytest.mark.parametrize("rows", [10, 50_000])
def test_a_quote_that_is_never_closed_is_told_with_its_line(rows):
    good = "".join(f'"{number}","two\nlines"\n' for number in range(rows))
    source = detect(f'a,b\n{good}"bad,1\n2,3\n')
    line = 2 * rows + 2
    with pytest.raises(BadCSV, match=rf"The record in line {line} has no end: a quote \(\"\)"):
        source.count_rows()
    with pytest.raises(BadCSV, match=f"line {line} "):
        list(source.batches(RaggedRows(2)))


def test_a_field_beyond_the_limit_is_told_with_its_line():
    rows = [["a", "b"], ["1", "x\ny"], ["2", "z" * (csv_records.MAX_FIELD_CHARS + 1)]]
    with pytest.raises(BadCSV, match="The record in line 4 has no end"):
        detect(written(rows)).count_rows()


def test_a_record_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(csv_text, "MAX_RECORD_BYTES", 4 * BLOCK_BYTES)
    fine = 'a,b\n"1","2"\n' * 10_000
    endless = ('"\n",' * 200 + '"\n",') * (BLOCK_BYTES // 100)
    with pytest.raises(BadCSV, match="too long"):
        detect(fine + endless).count_rows()


def test_bytes_that_do_not_fit_are_found_by_the_first_pass():
    data = "a,b\nGröße,1\n".encode() + b"1,2\n" * BLOCK_BYTES + b"caf\xe9,1\n"
    with pytest.raises(BadCSV, match=f"Byte 0xE9 in line {BLOCK_BYTES + 3} "):
        detect(data).count_rows()


def test_progress_of_the_first_pass_ends_at_the_size():
    data = 'a,b\n"1",2\n' * BLOCK_BYTES
    told: list[int] = []
    detect(data).count_rows(told.append)
    assert told == sorted(told)
    assert told[-1] == len(data)


def test_whoever_watches_the_progress_can_end_the_pass():
    def stop(position: int) -> None:
        raise InterruptedError

    for data in ("a,b\n1,2\n", 'a,b\n"1",2\n'):
        with pytest.raises(InterruptedError):
            detect(data).count_rows(stop)


def test_streams_are_closed_after_each_pass():
    streams: list[io.BytesIO] = []

    def open_stream() -> io.BytesIO:
        streams.append(io.BytesIO("a,b\n1,ö\n".encode("cp1252")))
        return streams[-1]

    source = CSVSource.detect(open_stream)
    source.count_rows()
    list(source.batches(RaggedRows(2)))
    assert len(streams) > 3
    assert all(stream.closed for stream in streams)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b" \n\t\r\n ", "only blank space"),
        (b"\xef\xbb\xbf\n\n", "only blank space"),
        ("\n \n".encode("utf-16"), "only blank space"),
        (b",,,\n,,,\n", "no columns"),
        (b'"";""\n"";""\n', "no columns"),
        (b"PK\x03\x04....xl/workbook.xml", "an Excel workbook"),
        (b"a,b\n1,\x00\n", "binary"),
        (",".join(["x"] * 2_001).encode() + b"\n", "2001 columns"),
    ],
)
def test_bad_input_is_refused_by_head_and_by_the_job(data, message):
    with pytest.raises(BadCSV, match=message):
        check_head(data, complete=True)
    with pytest.raises(BadCSV, match=message):
        detect(data)


@pytest.mark.parametrize(
    ("head", "complete"),
    [
        (b"a,b\n1,2\n", True),
        ("größe\n1\n".encode("cp1252"), True),
        (b"sep=;\na;b\n", True),
        (b",,,\n" * 100, False),
        (b" \n" * 100, False),
        (("é" * 100).encode()[:-1], False),
        ("a;b\n".encode("utf-16")[:-1], False),
    ],
)
def test_a_head_that_may_be_good_passes(head, complete):
    assert check_head(head, complete=complete) is None


def test_blank_lines_beyond_the_head_are_refused_by_the_job():
    with pytest.raises(BadCSV, match="only blank space"):
        detect(b" \n" * 1_000_000)
