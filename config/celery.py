"""The Celery application: `celery -A config worker`."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("config")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.autodiscover_tasks(["demo"], related_name="site_status")
app.autodiscover_tasks(["demo"], related_name="renders")
app.autodiscover_tasks(["demo"], related_name="thumbnails")
app.autodiscover_tasks(["demo"], related_name="monthly_report")
