import pytest

from status.pace import Pace


def test_a_source_in_the_same_rhythm_is_never_made_to_wait():
    pace, now = Pace(), 100.0
    for number in range(100):
        # A little out of step to either side, as real sources are.
        moment = now + number * 0.1 + (0.03 if number % 2 else 0.0)
        assert pace.wait(moment, 0.1) == 0
        pace.take(moment, 0.1)


def test_a_flood_gets_ten_a_second():
    pace, now, turns = Pace(), 0.0, 0
    while now < 10:
        if pace.wait(now, 0.1) == 0:
            pace.take(now, 0.1)
            turns += 1
        now += 0.001
    assert turns == pytest.approx(101, abs=1)


def test_two_at_once_after_a_pause():
    pace = Pace()
    for _ in range(2):
        assert pace.wait(50.0, 0.1) == 0
        pace.take(50.0, 0.1)
    assert pace.wait(50.0, 0.1) == pytest.approx(0.1)


def test_turns_out_of_turn_do_not_pile_up():
    pace = Pace()
    for _ in range(1000):
        pace.take(7.0, 0.1)
    assert pace.wait(7.0, 0.1) == pytest.approx(0.1)
