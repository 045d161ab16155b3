"""The project's settings with a task that never ends, for the tests of how a run stops."""

import time

from celery import shared_task

from config.settings import *  # noqa: F403


@shared_task
def never_ends() -> None:
    print("never_ends has begun")  # noqa: T201
    while True:
        try:
            time.sleep(60)
        except BaseException:
            continue
