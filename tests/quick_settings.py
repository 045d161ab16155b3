"""The project's settings with clocks that a test can wait for."""

from config.settings import *  # noqa: F403
from config.settings import STATUS as _STATUS

STATUS = _STATUS | {
    "BEAT_SECONDS": 1,
    "BEAT_LATE_SECONDS": 2,
    "POLL_SECONDS": 1,
    "REFRESH_SECONDS": 1,
    "WORKER_SECONDS": 1,
}
