"""The settings for tracking, with a schedule for Celery's own scheduler, which keeps its times in a file."""

from tests.track_settings import *  # noqa: F403

CELERY_BEAT_SCHEDULE = {
    "tick": {"task": "tests.tasks.add", "schedule": 1.0, "args": (1, 2), "options": {"queue": "tracked"}}
}
