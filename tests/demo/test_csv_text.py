import pytest

from demo import csv_text
from demo.bad_csv import BadCSV
from demo.csv_encoding import BLOCK_BYTES, Encoding
from demo.csv_text import CSVText, count_lines, split_lines
from tests.demo.streams import opener

UTF_8 = Encoding(name="utf-8")


def lines_of(data: bytes, encoding: Encoding = UTF_8) -> list[str]:
    lines = []
    text = CSVText(opener(data), encoding)
    for block in text.blocks():
        text.mark = text.position
        lines += block
    return lines


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["", "\n"])
def test_lines_keep_their_ends_across_blocks(end, last):
    line = "x" * 99 + end
    data = (line * (2 * BLOCK_BYTES // len(line)) + "end" + last).encode()
    lines = lines_of(data)
    assert "".join(lines).encode() == data
    assert set(lines[:-1]) == {line}
    assert lines[-1] == "end" + last


def test_only_real_line_ends_end_lines():
    odd = "a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i"
    assert split_lines(f"{odd}\r\n{odd}\r{odd}\n") == [f"{odd}\r\n", f"{odd}\r", f"{odd}\n"]
    assert count_lines(f"{odd}\r\n{odd}\r{odd}\n") == 3


def test_progress_is_told_in_bytes_until_the_end():
    told: list[int] = []
    data = b"a,b\n" * BLOCK_BYTES
    text = CSVText(opener(data), UTF_8, told.append)
    for _lines in text.blocks():
        text.mark = text.position
    assert told == [BLOCK_BYTES, 2 * BLOCK_BYTES, 3 * BLOCK_BYTES, 4 * BLOCK_BYTES]


@pytest.mark.parametrize("lines_before", [0, 2, 300_000])
def test_a_byte_that_does_not_fit_is_told_with_its_place(lines_before):
    data = b"word\n" * lines_before + "é".encode() + b"\xe9t\xe9\n"
    with pytest.raises(BadCSV) as caught:
        lines_of(data)
    offset = 5 * lines_before + 2
    assert (
        f"Byte 0xE9 in line {lines_before + 1} (at offset {offset}) does not fit the encoding UTF-8"
        in str(caught.value)
    )


def test_the_place_is_right_after_a_byte_order_mark_and_in_the_middle_of_a_character():
    encoding = Encoding(name="utf-16-le", bom=b"\xff\xfe")
    with pytest.raises(BadCSV, match=r"in line 2 \(at offset 8\) does not fit the encoding UTF-16-LE"):
        lines_of(b"\xff\xfe" + "a\r\n".encode("utf-16-le") + b"\x00\xd8\x41\x00", encoding)


def test_a_character_that_the_end_cuts_does_not_fit():
    with pytest.raises(BadCSV, match="Byte 0xC3 in line 2"):
        lines_of(b"a\nb\xc3")


def test_nul_anywhere_is_binary():
    with pytest.raises(BadCSV, match="binary"):
        lines_of(b"a,b\n" * BLOCK_BYTES + b"1,\x00\n")


def test_a_line_without_end_is_refused_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr(csv_text, "MAX_LINE_CHARS", BLOCK_BYTES)
    with pytest.raises(BadCSV, match="The record before line 2 is too long"):
        lines_of(b"a\n" + b"x" * 3 * BLOCK_BYTES)


def test_a_file_that_grew_beyond_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(csv_text, "MAX_BYTES", BLOCK_BYTES)
    monkeypatch.setattr("demo.bad_csv.MAX_BYTES", BLOCK_BYTES)
    with pytest.raises(BadCSV, match="too large"):
        lines_of(b"a,b\n" * BLOCK_BYTES)
