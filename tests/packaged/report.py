"""How the shop's jobs stand, in JSON: `python report.py`."""

import json
import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()

from status.models import Job, Topic

jobs = {
    job.task.rpartition(".")[2]: [
        job.state,
        [step.name for step in job.step_list],
        job.line_count,
        job.file_count,
    ]
    for job in Job.objects.all()
}
topics = dict(Topic.objects.values_list("name", "payload"))
sys.stdout.write(json.dumps({"jobs": jobs, "live": Job.objects.live().count(), "topics": topics}))
