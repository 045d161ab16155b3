from collections import Counter
from datetime import date, datetime
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.column_types import ColumnType, ColumnTypes, Verdict

moment = datetime.fromisoformat


def verdict_of(values: list[str], *, prefer_comma: bool = False) -> Verdict:
    """The verdict, which must not depend on whether the values come at once or one by one."""
    together, apart = ColumnTypes(prefer_comma=prefer_comma), ColumnTypes(prefer_comma=prefer_comma)
    together.add(Counter(values))
    for value in values:
        apart.add({value: 1})
    verdict = together.verdict()
    one_by_one = apart.verdict()
    assert (verdict.type, verdict.off, verdict.parts) == (one_by_one.type, one_by_one.off, one_by_one.parts)
    assert (verdict.mean, verdict.tally.minimum) == (one_by_one.mean, one_by_one.tally.minimum)
    return verdict


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2", "+3"], ColumnType.INTEGER),
        (["0", "1", "1"], ColumnType.INTEGER),
        (["1", "2.5", "1e3"], ColumnType.DECIMAL),
        (["1,234", "56", "7,890,123"], ColumnType.INTEGER),
        (["1,234.50", "56"], ColumnType.DECIMAL),
        (["1,5", "2", "1.234,5", "2.000"], ColumnType.DECIMAL),
        (["true", "FALSE", "True"], ColumnType.BOOLEAN),
        (["2024-01-31", "1.2.2024"], ColumnType.DATE),
        (["2024-01-31", "2024-01-31 10:00"], ColumnType.DATETIME),
        (["Ada", "Alan"], ColumnType.TEXT),
        (["A", "B", "F", "N"], ColumnType.TEXT),
        (["yes", "no", "perhaps"], ColumnType.TEXT),
        (["10.0.0.1", "192.168.100.200"], ColumnType.TEXT),
        (["1", "x", "2024-01-31"], ColumnType.MIXED),
        (["12", "12a", "14"], ColumnType.MIXED),
        ([], ColumnType.EMPTY),
    ],
)
def test_the_narrowest_type_that_fits_all(values, kind):
    verdict = verdict_of(values)
    assert verdict.type is kind
    assert verdict.off == 0


def test_codes_of_digits_are_text():
    for codes in (["01234", "12345", "99999"], ["+4917612345678", "+4915112345678"]):
        verdict = verdict_of(codes)
        assert verdict.type is ColumnType.TEXT
        assert verdict.notes == ("Digits with leading zeros or +, kept as text.",)


@pytest.mark.parametrize(("good", "kind", "off"), [(95, ColumnType.INTEGER, 5), (94, ColumnType.MIXED, 0)])
def test_a_type_dominates_from_95_percent_on(good, kind, off):
    verdict = verdict_of(["7"] * good + ["x"] * (100 - good))
    assert (verdict.type, verdict.off) == (kind, off)


def test_values_that_are_off_are_exemplified_and_left_out():
    verdict = verdict_of([str(number) for number in range(100)] + ["x", "2024-01-31"])
    assert verdict.off == 2
    assert set(verdict.off_examples) == {"x", "2024-01-31"}
    assert (verdict.tally.minimum, verdict.tally.maximum, verdict.mean) == (0, 99, Fraction(99, 2))


def test_numbers_in_text_do_not_make_it_mixed():
    verdict = verdict_of(["word"] * 96 + ["1", "2.5", "2024-01-31", "yes"])
    assert (verdict.type, verdict.off) == (ColumnType.TEXT, 0)


def test_a_mixed_column_tells_its_parts():
    parts = verdict_of(["1", "2.5", "x", "y", "z", "2024-01-31 10:00"]).parts
    assert parts == {ColumnType.DECIMAL: 2, ColumnType.TEXT: 3, ColumnType.DATETIME: 1}


def test_ambiguous_commas_are_noted():
    verdict = verdict_of(["1,234", "5,678"])
    assert (verdict.type, verdict.tally.maximum) == (ColumnType.INTEGER, 5678)
    assert "could be decimal commas" in verdict.notes[0]
    assert verdict_of(["1,234", "5,678,901"]).notes == ()
    assert verdict_of(["1,234", "5,678.50"]).notes == ()


def test_commas_are_decimal_where_semicolons_separate_fields():
    verdict = verdict_of(["1,234", "5,678"], prefer_comma=True)
    assert (verdict.type, verdict.mean) == (ColumnType.DECIMAL, Fraction("3.456"))
    assert verdict.notes == ("Read with a comma before the decimals.",)


def test_points_are_decimal_unless_they_cannot_be():
    assert verdict_of(["1.234", "5.678"], prefer_comma=True).tally.maximum == Fraction("5.678")
    assert verdict_of(["1.234", "5.678.901"]).tally.maximum == 5678901


@pytest.mark.parametrize(
    ("values", "latest", "noted"),
    [
        (["01/02/2024", "03/04/2024"], date(2024, 4, 3), True),
        (["01/02/2024", "13/04/2024"], date(2024, 4, 13), False),
        (["01/02/2024", "04/13/2024"], date(2024, 4, 13), False),
        (["01/02/2024 10:00", "03/04/2024 11:00"], moment("2024-04-03T11:00:00"), True),
    ],
)
def test_the_other_values_tell_day_from_month(values, latest, noted):
    verdict = verdict_of(values)
    assert verdict.tally.maximum == latest
    assert bool(verdict.notes) is noted


def test_days_are_midnights_among_moments():
    tally = verdict_of(["2024-01-31", "2024-01-30 23:00"]).tally
    assert (tally.minimum, tally.maximum) == (moment("2024-01-30T23:00:00"), moment("2024-01-31T00:00:00"))


def test_moments_with_zones_are_compared_in_utc():
    verdict = verdict_of(["2024-01-31T10:30+02:00", "2024-01-31T09:00Z"])
    assert verdict.tally.minimum == moment("2024-01-31T08:30:00")
    assert (verdict.tally.zoned, verdict.notes) == (True, ("Times are given in UTC.",))


def test_moments_with_and_without_zones():
    verdict = verdict_of(["2024-01-31T10:30+02:00", "2024-01-31T09:00"])
    assert verdict.tally.maximum == moment("2024-01-31T09:00:00")
    assert verdict.notes == ("Times without a zone were taken as UTC.",)


def test_the_first_hours_of_the_calendar_do_not_overflow():
    assert verdict_of(["0001-01-01T00:00+02:00"]).tally.minimum == moment("0001-01-01T00:00:00")


def test_the_mean_of_integers_is_exact():
    huge = 10**39
    assert verdict_of([str(huge), str(huge + 1), "-1"]).mean == Fraction(2 * huge, 3)


def test_the_mean_of_decimals_is_exact():
    assert verdict_of(["0.1"] * 10 + ["0.2"] * 10).mean == Fraction(3, 20)
    assert verdict_of(["1e200", "1e-200", "-1e200"]).mean == Fraction(1, 3 * 10**200)


@given(st.lists(st.integers(-(10**20), 10**20), min_size=1))
@settings(deadline=None)
def test_integers_have_their_exact_mean_and_range(numbers):
    verdict = verdict_of([str(number) for number in numbers])
    assert verdict.type is ColumnType.INTEGER
    assert verdict.mean == Fraction(sum(numbers), len(numbers))
    assert (verdict.tally.minimum, verdict.tally.maximum) == (min(numbers), max(numbers))


@given(st.lists(st.decimals(-(10**12), 10**12, places=3), min_size=1))
@settings(deadline=None)
def test_decimals_have_their_exact_mean_and_range(numbers):
    verdict = verdict_of([f"{number:.3f}" for number in numbers])
    assert verdict.mean == sum(map(Fraction, numbers)) / len(numbers)
    assert (verdict.tally.minimum, verdict.tally.maximum) == (min(numbers), max(numbers))
