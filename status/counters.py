"""What this process has counted since it began; plain numbers, so that counting costs nanoseconds.

Nothing here is on the way of `track()` and `update()`. Threads add to these without a lock: a lost one among
millions harms no graph, and each number has one thread that nearly always writes it.
"""

import time
from bisect import bisect_left
from typing import Any


class Histogram:
    """How many values fell below each bound, and their sum.

    Args:
        bounds: upper bounds, ascending, each inclusive; there is one more for what is larger.

    Example:
        >>> sizes = Histogram(100, 1000); sizes.observe(250); sizes.counts
        [0, 1, 0]
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, *bounds: float) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count `value`, as often as it was there."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times


class Counters:
    """The numbers of one process."""

    __slots__ = (
        "conflated",
        "delay_seconds",
        "frame_bytes",
        "frames_replaced",
        "merged",
        "outdated",
        "received",
        "refused",
        "repaired",
        "sent",
        "sockets",
    )

    def __init__(self) -> None:
        self.sent = 0
        """Events handed to the channel layer."""
        self.refused = 0
        """Events that the channel layer did not take; all but those that cannot be packed are tried again."""
        self.merged = 0
        """Events that a newer one replaced before they were sent."""
        self.received = 0
        """Messages of the channel layer."""
        self.outdated = 0
        """Events that were older than what the hub had."""
        self.conflated = 0
        """Changes that came while their page's next frame was already due, and went with that."""
        self.repaired = 0
        """Changes of state or step that a row told first, and no event."""
        self.sockets = 0
        """Sockets of pages that are open."""
        self.frames_replaced = 0
        """Frames that a newer one replaced, since their socket did not take them yet."""
        self.frame_bytes = Histogram(256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576)
        """The sizes of the frames that were written; their number is that of the frames."""
        self.delay_seconds = Histogram(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
        """From when a process sent an event until the hub had it; as true as the clocks are equal."""

    def receive(self, message: dict[str, Any]) -> None:
        """Count a message of the channel layer."""
        self.received += 1
        sent_at = message.get("sent_at")
        if isinstance(sent_at, float):
            self.delay_seconds.observe(max(time.time() - sent_at, 0.0))


counters = Counters()
"""Those of this process."""
