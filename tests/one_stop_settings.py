"""The project's settings for a worker of greenlets that can be stopped at once."""

from config.settings import *  # noqa: F403

CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 0.0
CELERY_DB_REUSE_MAX = None
