from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.sketches import MAX_VALUE_CHARS, DistinctSketch, Frequency, FrequentSketch, shortened


@given(st.lists(st.text(min_size=1), max_size=60))
@settings(deadline=None)
def test_few_distinct_values_are_counted_exactly(values):
    sketch = DistinctSketch(64)
    for value in values:
        sketch.add([value])
    assert sketch.estimate() == len(set(values))


@pytest.mark.parametrize("distinct", [5_000, 100_000, 400_000])
def test_many_distinct_values_are_estimated_within_the_stated_error(distinct):
    sketch = DistinctSketch(1_024)
    for start in range(0, distinct, 10_000):
        sketch.add(f"value {number}" for number in range(start, min(distinct, start + 10_000)))
    # Beyond five standard errors is one run in two million.
    assert abs(sketch.estimate() - distinct) < 5 * sketch.standard_error * distinct


def test_values_that_come_back_do_not_count_again():
    once, often = DistinctSketch(256), DistinctSketch(256)
    values = [f"value {number}" for number in range(5_000)]
    once.add(values)
    for start in range(0, 5_000, 100):
        often.add(values[start : start + 100])
        often.add(values[: start + 100])
    assert once.estimate() == often.estimate()


def test_the_standard_error_is_that_of_the_literature():
    assert DistinctSketch(1_024).standard_error == pytest.approx(0.03128, abs=1e-5)


def test_estimates_scatter_by_the_stated_error():
    """Over independent sets of values, two of three estimates are off by less than the standard error."""
    close = 0
    for run in range(60):
        sketch = DistinctSketch(256)
        sketch.add(f"{run} {number}" for number in range(4_000))
        close += abs(sketch.estimate() - 4_000) < sketch.standard_error * 4_000
    assert 25 <= close <= 55


def test_a_sketch_too_small_for_its_error_is_refused():
    with pytest.raises(ValueError, match="size of 3"):
        DistinctSketch(2)


def test_few_values_are_counted_exactly():
    sketch = FrequentSketch(5)
    sketch.add({"a": 3, "b": 5})
    sketch.add({"a": 4, "c": 5})
    assert sketch.most_common(2) == [Frequency("a", 7), Frequency("b", 5)]


@given(
    st.lists(st.dictionaries(st.integers(0, 40).map(str), st.integers(1, 50), max_size=30), max_size=12),
    st.integers(1, 10),
)
@settings(deadline=None)
def test_counts_are_within_the_stated_error(batches, size):
    sketch = FrequentSketch(size)
    truth: Counter[str] = Counter()
    for batch in batches:
        sketch.add(batch)
        truth.update(batch)
    assert sketch.error <= truth.total() / (size + 1)
    listed = sketch.most_common(size)
    for entry in listed:
        assert entry.count <= truth[entry.value] <= entry.count + entry.error
        # Whatever is not listed is certainly rarer than what is.
        assert entry.count > sketch.error
    missed = {
        value: count for value, count in truth.items() if value not in {entry.value for entry in listed}
    }
    assert all(count <= 2 * sketch.error for count in missed.values())


def test_a_frequent_value_is_found_among_many_rare_ones():
    sketch = FrequentSketch(100)
    for start in range(0, 100_000, 1_000):
        sketch.add({"often": 50} | {f"rare {number}": 1 for number in range(start, start + 1_000)})
    (entry,) = sketch.most_common(5)
    assert entry.value == "often"
    assert entry.count <= 5_000 <= entry.count + entry.error


def test_nothing_is_listed_where_nothing_is_frequent():
    sketch = FrequentSketch(100)
    for start in range(0, 10_000, 1_000):
        sketch.add({f"rare {number}": 1 for number in range(start, start + 1_000)})
    assert sketch.most_common(5) == []
    assert sketch.error == 10


def test_long_values_are_held_short_and_apart():
    first, second = "x" * 100_000 + "a", "x" * 100_000 + "b"
    sketch = FrequentSketch(5)
    sketch.add({first: 2, second: 3})
    sketch.add({first: 2})
    entries = sketch.most_common(5)
    assert [entry.count for entry in entries] == [4, 3]
    assert entries[0].value == shortened(first)
    assert all(len(entry.value) < MAX_VALUE_CHARS + 20 for entry in entries)
