"""The settings for tracking, with arguments that the row of a job cannot hold."""

from tests.track_settings import *  # noqa: F403

CELERY_ACCEPT_CONTENT = ["json", "pickle"]
