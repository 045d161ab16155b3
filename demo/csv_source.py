"""A CSV file as a stream of rows of one width, however it is encoded, delimited and quoted."""

import csv
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain
from typing import Self

from demo.bad_csv import HEAD_BYTES, Opener, refuse_foreign
from demo.csv_dialect import Dialect, detect_dialect
from demo.csv_encoding import Encoding, detect_encoding, marked_encoding
from demo.csv_header import Header, find_header
from demo.csv_records import RecordBatch, Records
from demo.csv_text import CSVText, ignore_progress, split_lines
from demo.ragged_rows import RaggedRows

_SAMPLE_CHARS = 64 * 1024
_BATCH_ROWS = 500
_BATCH_CELLS = 200_000


def check_head(head: bytes, *, complete: bool) -> None:
    """Refuse a file by its first bytes, as far as they tell; meant for the form, before a job is started.

    Args:
        head: the first bytes, best `HEAD_BYTES` of them.
        complete: they are the whole file.

    Raises:
        BadCSV: it is empty or blank, another format, or has no columns or too many.

    Example:
        >>> check_head(b"name;age\\nAda;36\\n", complete=True)
    """
    refuse_foreign(head)
    encoding = marked_encoding(head) or Encoding(name="utf-8")
    text = head[len(encoding.bom) :].decode(encoding.name, "replace")
    dialect = detect_dialect(text, complete=complete)
    lines = split_lines(text)[dialect.separator_line :]
    if complete or text.strip(f"{dialect.delimiter}{dialect.quote} \t\r\n"):
        find_header(csv.reader(lines, **dialect.options()))


class CSVSource:
    """A CSV file whose encoding, dialect and header are known; each pass reads it anew from its beginning.

    Nothing is held but what is in hand, so memory does not grow with the file.

    Example:
        >>> source = CSVSource.detect(lambda: open("people.csv", "rb"))
        >>> source.header.names
        ('name', 'age')
        >>> for rows in source.batches(RaggedRows(width=2)):
        ...     names, ages = zip(*rows)
    """

    def __init__(self, open_stream: Opener, encoding: Encoding, dialect: Dialect, header: Header) -> None:
        self._open_stream = open_stream
        self.encoding = encoding
        self.dialect = dialect
        self.header = header
        self.blank_lines = 0
        """Lines without a character, which are no rows; known after `count_rows`."""
        self.position = 0
        """Bytes read so far by `batches`."""

    @classmethod
    def detect(cls, open_stream: Opener) -> Self:
        """Find out how to read a file.

        Args:
            open_stream: opens the file from its first byte, once per pass.

        Returns:
            The source.

        Raises:
            BadCSV: this is no CSV file, or not one that can be read.
        """
        with closing(open_stream()) as stream:
            refuse_foreign(stream.read(HEAD_BYTES))
        encoding = detect_encoding(open_stream)
        sample, complete = _sample(CSVText(open_stream, encoding))
        dialect = detect_dialect(sample, complete=complete)
        header = find_header(Records(CSVText(open_stream, encoding), dialect))
        return cls(open_stream, encoding, dialect, header)

    def count_rows(self, on_read: Callable[[int], None] = ignore_progress) -> int:
        """Read the whole file once, which proves that it can be read.

        Args:
            on_read: called with the bytes read so far, every 256 KB.

        Returns:
            How many data rows there are, without the header and blank lines.

        Raises:
            BadCSV: bytes do not fit the encoding, or a quote is never closed.
        """
        text = CSVText(self._open_stream, self.encoding, on_read)
        blocks = text.blocks()
        count = -self.header.records - self.dialect.separator_line
        self.blank_lines = 0
        for lines in blocks:
            if self._may_span_lines(lines):
                # From here on a record may be longer than a line; no quote is open yet.
                rest = chain(lines, chain.from_iterable(blocks))
                records = Records(text, self.dialect, rest, line=text.line - len(lines))
                return count + sum(map(self._count_filled, records.batches(_BATCH_ROWS)))
            blank = sum(map(lines.count, ("\n", "\r\n", "\r")))
            self.blank_lines += blank
            count += len(lines) - blank
            text.mark = text.position
        return count

    def batches(self, ragged: RaggedRows) -> Iterator[list[list[str]]]:
        """The data rows in batches, for work column by column.

        Args:
            ragged: notes the rows with too few or too many fields, and makes them fit.

        Yields:
            Some hundred rows, and not much more than 4 MB of them, each with one field per column.

        Raises:
            BadCSV: as `count_rows`.
        """
        text = CSVText(self._open_stream, self.encoding)
        records = Records(text, self.dialect)
        most = max(1, min(_BATCH_ROWS, _BATCH_CELLS // ragged.width))
        skip = self.header.records
        for batch in records.batches(most):
            rows = batch.records
            self.position = text.position
            if skip or set(map(len, rows)) != {ragged.width}:
                pairs = [pair for pair in zip(rows, batch.lines(), strict=False) if pair[0]]
                rows = [self._fitted(row, line, ragged) for row, line in pairs[skip:]]
                skip = max(0, skip - len(pairs))
            if rows:
                yield rows

    def numbered(self, ragged: RaggedRows) -> Iterator[tuple[int, list[str]]]:
        """The data rows one by one, each with the line it begins in, from 1; slower than `batches`.

        Args:
            ragged: as for `batches`.

        Raises:
            BadCSV: as `count_rows`.
        """
        text = CSVText(self._open_stream, self.encoding)
        skip = self.header.records
        for batch in Records(text, self.dialect).batches(_BATCH_ROWS):
            self.position = text.position
            pairs = [pair for pair in zip(batch.records, batch.lines(), strict=False) if pair[0]]
            for row, line in pairs[skip:]:
                yield line, self._fitted(row, line, ragged)
            skip = max(0, skip - len(pairs))

    def _may_span_lines(self, lines: list[str]) -> bool:
        marks = f"{self.dialect.quote}\\" if self.dialect.backslash else self.dialect.quote
        return any(mark in line for mark in marks for line in lines)

    def _count_filled(self, batch: RecordBatch) -> int:
        filled = sum(map(bool, batch.records))
        self.blank_lines += len(batch.records) - filled
        return filled

    def _fitted(self, row: list[str], line: int, ragged: RaggedRows) -> list[str]:
        return row if len(row) == ragged.width else ragged.fit(row, line)


def _sample(text: CSVText) -> tuple[str, bool]:
    """The beginning of the text, and whether it is all of it."""
    sample = ""
    for lines in text.blocks():
        sample += "".join(lines)
        if len(sample) > _SAMPLE_CHARS:
            return sample[:_SAMPLE_CHARS], False
        text.mark = text.position
    return sample, True
