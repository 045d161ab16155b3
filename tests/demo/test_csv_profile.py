import tracemalloc
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from fractions import Fraction
from itertools import chain
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.column_types import ColumnType
from demo.csv_profile import ColumnProfiler, TableProfiler, profile_table
from demo.csv_source import CSVSource
from demo.ragged_rows import RaggedRows
from demo.sketches import MAX_VALUE_CHARS, Frequency
from tests.demo.streams import detect, profiled, written


def test_a_column_of_each_type():
    columns = profiled(
        "i,d,b,day,moment,t,e\n"
        "1,1.5,yes,2024-01-31,2024-01-31 10:00,abc,\n"
        "3,0.25,no,2024-01-01,2024-01-31 09:00,zé,NA\n"
        ",NA,,,,,\n"
    )
    integer, decimal, boolean, day, moment, text, empty = columns.values()
    assert (integer.type, integer.minimum, integer.maximum) == (ColumnType.INTEGER, 1, 3)
    assert (integer.verdict.mean, integer.nulls, integer.rows, integer.distinct) == (Fraction(2), 1, 3, 2)
    assert (decimal.type, decimal.verdict.mean) == (ColumnType.DECIMAL, Fraction("0.875"))
    assert (boolean.type, boolean.minimum, boolean.distinct) == (ColumnType.BOOLEAN, None, 2)
    assert (day.type, day.minimum, day.maximum) == (ColumnType.DATE, date(2024, 1, 1), date(2024, 1, 31))
    assert moment.minimum == datetime.fromisoformat("2024-01-31 09:00")
    assert (text.type, text.minimum, text.maximum) == (ColumnType.TEXT, "abc", "zé")
    assert (text.shortest, text.longest) == (2, 3)
    assert (empty.type, empty.nulls, empty.distinct, empty.frequent) == (ColumnType.EMPTY, 3, 0, ())


def test_spellings_of_missing_values_are_told_apart():
    column = profiled("id,v\n1,NA\n2,\n3,NULL\n4,\n5,  \n6,-\n7,x\n8,na\n")["v"]
    assert column.null_tokens == {"": 3, "NA": 1, "NULL": 1, "-": 1}
    assert (column.nulls, column.distinct) == (6, 2)


def test_spaces_around_values_are_left_out_and_noted():
    column = profiled('id,v\n1, 7\n2,7 \n3,"\t8"\n4,7\n')["v"]
    assert (column.type, column.distinct) == (ColumnType.INTEGER, 2)
    assert column.frequent[0] == Frequency("7", 3)
    assert column.notes == ("3 values had spaces around them, which were left out.",)


def test_the_most_frequent_values():
    column = profiled("id,v\n" + "".join(f"1,{value}\n" for value in "bbbaaacceefgh"))["v"]
    assert [(entry.value, entry.count, entry.error) for entry in column.frequent] == [
        *(("a", 3, 0), ("b", 3, 0), ("c", 2, 0), ("e", 2, 0), ("f", 1, 0))
    ]
    assert column.uncounted == 0


def test_a_table_without_rows():
    (column,) = profiled("id\n").values()
    assert (column.type, column.rows, column.nulls, column.distinct) == (ColumnType.EMPTY, 0, 0, 0)


def test_ragged_rows_take_part():
    columns = profiled("a,b,c\n1,2,3\n4,5\n6,7,8,9\n1,2,3\n")
    assert [column.rows for column in columns.values()] == [4, 4, 4]
    assert (columns["c"].nulls, columns["c"].maximum) == (1, 8)


def test_progress_is_told_in_rows():
    told: list[int] = []
    source = detect(written([["a", "b"], *[["1", "2"]] * 2_345]))
    profile_table(source, RaggedRows(2), told.append)
    assert told == sorted(told)
    assert told[-1] == 2_345


def profile_of(values: list[str], *, exact: int, batch: int = 1_000):
    column = ColumnProfiler("v", exact=exact)
    for start in range(0, len(values), batch):
        column.add(values[start : start + batch])
    return column.profile()


def test_distinct_values_are_exact_up_to_the_bound():
    values = [str(number % 10_000) for number in range(25_000)]
    profile = profile_of(values, exact=10_000)
    assert (profile.distinct, profile.distinct_error) == (10_000, 0.0)
    assert profile.frequent[0] == Frequency("0", 3)


@pytest.mark.parametrize("distinct", [10_001, 40_000, 150_000])
def test_distinct_values_beyond_the_bound_are_within_the_stated_error(distinct):
    profile = profile_of([f"v{number}" for number in range(distinct)] * 2, exact=10_000)
    assert profile.distinct_error == pytest.approx(0.0313, abs=1e-4)
    assert abs(profile.distinct - distinct) < 5 * profile.distinct_error * distinct


def test_unique_values_are_not_estimated_to_be_more_than_there_are():
    for _run in range(10):
        assert profile_of([str(number) for number in range(3_000)], exact=1_000).distinct <= 3_000


def test_frequent_values_beyond_the_bound_are_within_the_stated_error():
    random = Random(7)
    values = [f"rare {number}" for number in range(60_000)] + ["a"] * 30_000 + ["b"] * 9_000
    random.shuffle(values)
    profile = profile_of(values, exact=10_000)
    assert [entry.value for entry in profile.frequent] == ["a", "b"]
    for entry, truth in zip(profile.frequent, (30_000, 9_000), strict=True):
        assert entry.count <= truth <= entry.count + entry.error
    assert 0 < profile.uncounted < 99_000 / 1_000


VALUES = st.lists(
    st.sampled_from(["", "NA", " 7", "7", "-3", "2.5", "x", "yes", "2024-01-31", "01/02/2024"])
    | st.integers().map(str)
    | st.text(st.characters(categories=["L", "N", "P"]), max_size=5),
    min_size=1,
    max_size=80,
)


@given(VALUES)
@settings(deadline=None, max_examples=150)
def test_absorbing_early_and_late_agree(values):
    """All that is not estimated is the same, whether the buffer was emptied on the way or not."""
    late, early = profile_of(values, exact=1_000), profile_of(values, exact=3, batch=2)
    for fact in (
        "rows",
        "nulls",
        "null_tokens",
        "type",
        "minimum",
        "maximum",
        "shortest",
        "longest",
        "notes",
    ):
        assert getattr(late, fact) == getattr(early, fact), fact
    assert (late.verdict.off, late.verdict.mean) == (early.verdict.off, early.verdict.mean)
    # Fewer hashes than the sketch holds: the estimate is exact.
    assert late.distinct == early.distinct
    truth = Counter(value.strip() for value in values)
    for entry in early.frequent:
        assert entry.count <= truth[entry.value] <= entry.count + entry.error


def test_first_and_last_text_are_cut_without_changing_their_order():
    first, last = "a" * 5_000, "z" * 5_000
    profile = profile_of([last, "b", first, "y"], exact=1, batch=1)
    assert (profile.minimum, profile.maximum) == ("a" * MAX_VALUE_CHARS, "z" * MAX_VALUE_CHARS)
    assert (profile.shortest, profile.longest) == (1, 5_000)


def test_wide_tables_count_fewer_values_exactly():
    assert TableProfiler(["a"] * 10).exact == 10_000
    assert TableProfiler(["a"] * 100).exact == 4_000
    assert TableProfiler(["a"] * 2_000).exact == 200


def test_long_values_are_absorbed_before_they_fill_the_memory():
    table = TableProfiler(["id", "long"])
    for number in range(40):
        table.add([[str(number), f"{number}" * 500_000]])
        table.shrink()
    identity, long = table.profiles()
    assert (identity.distinct, identity.distinct_error) == (40, 0.0)
    assert long.distinct == 40
    assert long.distinct_error > 0
    assert long.longest == 1_000_000


class Generated:
    """A stream of bytes that are made as they are read."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while len(self._rest) < size and (block := next(self._blocks, b"")):
            self._rest += block
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def close(self) -> None:
        self._blocks = iter(())


MEGABYTE = 1024 * 1024


def fifty_megabytes() -> Generated:
    """Unique numbers, frequent names, unique long texts, and ragged rows: 50 MB of them."""
    rows = "".join(f'{row}@,name {row % 50},"{row}@ {"word " * 240}"\n' for row in range(1_000, 2_000))
    block = f"{rows}ragged\n".encode()
    header = b"id,name,text\n"
    blocks = (block.replace(b"@", b"%05d" % number) for number in range(50 * MEGABYTE // len(block)))
    return Generated(chain([header], blocks))


def test_memory_is_bounded_on_fifty_megabytes():
    ragged = RaggedRows(width=3)
    tracemalloc.start()
    try:
        source = CSVSource.detect(fifty_megabytes)
        rows = source.count_rows()
        columns = profile_table(source, ragged)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows > 40_000
    assert [column.rows for column in columns] == [rows] * 3
    assert ragged.count == rows // 1_001
    assert peak < 30 * MEGABYTE
