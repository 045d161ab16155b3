"""The renders of the farm: how far each is follows from when it began, so nothing runs in between."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

FRAMES_PER_SECOND = 20.0
FORGOTTEN_AT = 0.5
MOST_RENDERS = 10_000

BEHAVIOURS = ("good", "slow", "flaky", "forgets", "fails", "refuses")
"""How the farm answers for a render: as it should; late; now with a fault, now not; not any more from half way
on; always with a 500; by closing the connection."""


@dataclass(kw_only=True)
class Render:
    """Work that the farm was given."""

    frames: int
    behaviour: str
    key: str
    """What the client calls it: the same key again is the same render, so that a lost answer starts no second."""
    id: str = field(default_factory=lambda: uuid4().hex)
    began: float = field(default_factory=time.monotonic)
    cancels: int = 0
    """How often it was cancelled."""
    looks: int = 0
    """How often it was asked for."""

    @property
    def done(self) -> int:
        """Frames that are ready."""
        return min(self.frames, int((time.monotonic() - self.began) * FRAMES_PER_SECOND))

    @property
    def is_forgotten(self) -> bool:
        """Whether the farm does as if it had never had it."""
        return self.behaviour == "forgets" and self.done >= self.frames * FORGOTTEN_AT

    def state(self, url: str) -> dict[str, Any]:
        """What a client is told; `url` is where the farm serves it."""
        finished = self.done == self.frames and not self.cancels
        return {
            "id": self.id,
            "done": self.done,
            "frames": self.frames,
            "finished": finished,
            "cancels": self.cancels,
            "looks": self.looks,
            "url": f"{url}/picture" if finished else "",
        }


class Renders:
    """All renders; safe for the threads of the server."""

    def __init__(self) -> None:
        self._by_id: dict[str, Render] = {}
        self._by_key: dict[str, Render] = {}
        self._lock = threading.Lock()

    def submit(self, frames: int, behaviour: str, key: str) -> Render:
        """The render of that key; a new one, unless it is there. The oldest goes when there are too many."""
        with self._lock:
            held = self._by_key.get(key) if key else None
            if held is not None:
                return held
            render = Render(frames=frames, behaviour=behaviour, key=key)
            self._by_id[render.id] = self._by_key[key or render.id] = render
            if len(self._by_id) > MOST_RENDERS:
                oldest = self._by_id.pop(next(iter(self._by_id)))
                self._by_key.pop(oldest.key or oldest.id)
            return render

    def get(self, render_id: str) -> Render | None:
        """The render of that id."""
        return self._by_id.get(render_id)
