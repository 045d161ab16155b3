"""The pace at which something may be sent: at once after a pause, and not too fast on average."""


class Pace:
    """The generic cell rate algorithm (ITU-T I.371) with room for one extra.

    A plain "not sooner than T after the last" delays every one of a source that sends in just that rhythm,
    each by nearly T, once it has fallen out of step; the room for one extra lets it fall back in step.

    >>> pace = Pace()
    >>> pace.take(5.0, 0.1); pace.wait(5.0, 0.1)
    0.0
    >>> pace.take(5.0, 0.1); round(pace.wait(5.0, 0.1), 3)
    0.1
    """

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due = 0.0

    def wait(self, now: float, seconds: float) -> float:
        """How long to wait at `now` (seconds, monotonic) for a turn, if one comes every `seconds`."""
        return max(self._due - seconds - now, 0.0)

    def take(self, now: float, seconds: float) -> None:
        """Note that a turn was taken; one that was taken out of turn delays the next by no more than two."""
        self._due = min(max(self._due, now) + seconds, now + 2 * seconds)
