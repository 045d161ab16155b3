"""Inputs for the tests of the CSV job."""

import csv
import io
from collections.abc import Iterable, Sequence

from demo.bad_csv import Opener
from demo.csv_profile import ColumnProfile, profile_table
from demo.csv_source import CSVSource
from demo.ragged_rows import RaggedRows


def opener(data: str | bytes, encoding: str = "utf-8") -> Opener:
    """Opens `data` as a stream of bytes, as often as asked."""
    stored = data.encode(encoding) if isinstance(data, str) else data
    return lambda: io.BytesIO(stored)


def detect(data: str | bytes, encoding: str = "utf-8") -> CSVSource:
    return CSVSource.detect(opener(data, encoding))


def rows_of(data: str | bytes, encoding: str = "utf-8") -> list[list[str]]:
    """All data rows, having checked that the two passes agree on their number."""
    source = detect(data, encoding)
    rows = [row for batch in source.batches(RaggedRows(len(source.header.names))) for row in batch]
    assert source.count_rows() == len(rows)
    return rows


def written(rows: Iterable[Sequence[object]], **options) -> str:
    """A CSV file."""
    text = io.StringIO(newline="")
    csv.writer(text, **options).writerows(rows)
    return text.getvalue()


def profiled(data: str | bytes, encoding: str = "utf-8") -> dict[str, ColumnProfile]:
    """The profiles of a file's columns by their names."""
    source = detect(data, encoding)
    columns = profile_table(source, RaggedRows(len(source.header.names)))
    return {column.name: column for column in columns}
