"""Durations in bins: what is counted apart and added tells the same, and no percentile is wrong by more than a bin."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from status.durations import MOST_BINS, Durations, bin_of, middle_of

SECONDS = st.floats(0.001, 1_000_000)


def filled(values) -> Durations:
    durations = Durations()
    for value in values:
        durations.add(value)
    return durations


@given(st.lists(SECONDS, min_size=1), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_a_percentile_is_wrong_by_nine_percent_at_most(values, part):
    exact = sorted(values)[max(math.ceil(part * len(values)), 1) - 1]
    told = filled(values).percentile(part)
    assert exact / 1.091 <= told <= exact * 1.091


@given(st.lists(SECONDS), st.lists(SECONDS))
def test_what_is_counted_apart_and_added_is_what_is_counted_together(some, others):
    together = filled(some + others)
    merged, read = filled(some), filled(some)
    merged.merge(filled(others))
    read.merge_text(json.dumps(filled(others).to_wire()))
    assert merged.bins == read.bins == together.bins
    assert Durations.from_wire(json.loads(json.dumps(together.to_wire()))).bins == together.bins
    assert together.count == len(some + others)


@given(SECONDS, SECONDS)
def test_what_takes_longer_is_in_no_lower_bin(one, other):
    assert (bin_of(one) <= bin_of(other)) == (one <= other) or bin_of(one) == bin_of(other)


def test_the_ends_hold_whatever_is_beyond_them():
    assert [bin_of(seconds) for seconds in (-3.0, 0.0, 1e-9, 1e12)] == [0, 0, 0, MOST_BINS]
    assert middle_of(MOST_BINS) > 24 * 86_400
    assert Durations().percentile(0.5) is None


@pytest.mark.parametrize("number", range(MOST_BINS + 1))
def test_the_middle_of_a_bin_is_in_it(number):
    assert bin_of(middle_of(number)) == number
