"""The project's settings, with tasks that are jobs whoever sends them."""

from config.settings import *  # noqa: F403
from config.settings import STATUS as _STATUS

STATUS = _STATUS | {"TRACK": ["tests.tasks.a*", "tests.tasks.third_time_lucky"]}
