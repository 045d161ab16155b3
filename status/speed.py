"""How fast something grows."""

from collections import deque

WINDOW_SECONDS = 10.0
SHORTEST_WINDOW_SECONDS = 0.5


class Speed:
    """The slope of a quantity over the last ten seconds.

    A window, not an exponential mean: after a change of speed the estimate is right again when the window has
    passed, and a pause shows as what it is.
    """

    def __init__(self) -> None:
        self._of: object = None
        self._samples: deque[tuple[float, float]] = deque()

    def sample(self, of: object, value: float, now: float) -> float | None:
        """Note `value` of the quantity `of` at `now` (seconds, monotonic).

        Returns units a second; None until half a second has been seen.
        """
        samples = self._samples
        if of is not self._of or (samples and value < samples[-1][1]):
            self._of = of
            samples.clear()
        samples.append((now, value))
        while now - samples[0][0] > WINDOW_SECONDS and len(samples) > 2:
            samples.popleft()
        span = now - samples[0][0]
        return (value - samples[0][1]) / span if span >= SHORTEST_WINDOW_SECONDS else None
