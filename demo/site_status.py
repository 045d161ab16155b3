"""What beat broadcasts: whether anything runs."""

from celery import shared_task

from status.broadcast import broadcast
from status.models import Job
from status.states import State

TOPIC = "site-status"


@shared_task(ignore_result=True)
def broadcast_site_status() -> None:
    """Broadcast `RUNNING` while any job runs, else `IDLE`."""
    running = Job.objects.filter(state=State.RUNNING).exists()
    broadcast(TOPIC, {"status": "RUNNING" if running else "IDLE"})
