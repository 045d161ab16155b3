"""The project's settings for what is measured: `BENCH_STATUS` (JSON) changes keys of `STATUS`."""

import json
import os

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as _INSTALLED_APPS
from config.settings import STATUS as _STATUS
from config.settings import TEMPLATES as _TEMPLATES

STATUS = _STATUS | json.loads(os.environ.get("BENCH_STATUS", "{}"))
INSTALLED_APPS = [*_INSTALLED_APPS, "channels_broadcast", "liveops"]
ROOT_URLCONF = "benchmarks.urls"
TEMPLATES = [_TEMPLATES[0] | {"DIRS": [*_TEMPLATES[0]["DIRS"], BASE_DIR / "benchmarks" / "templates"]}]  # type: ignore[name-defined,list-item]  # noqa: F405

# What the Channels tutorial says; the same server as ours.
CHANNEL_LAYERS["tutorial"] = {  # noqa: F405
    "BACKEND": os.environ.get("BENCH_TUTORIAL_LAYER", "channels_redis.core.RedisChannelLayer"),
    "CONFIG": {"hosts": [REDIS_URL]},  # noqa: F405
}
