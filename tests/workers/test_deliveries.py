"""What real workers send to real receivers."""

import pytest
from standardwebhooks.webhooks import Webhook

from status import deliveries
from status.jobs import start
from status.models import Delivery, Job, Notification, Preferences
from status.sources.delivering import send_due
from status.sources.remote import send_due as send_polls
from status.states import State
from status.wording import waits_for
from tests import tasks
from tests.conftest import ended, reached
from tests.processes import start_worker, wait_until
from tests.receivers import receiver

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def impatient(tmp_path_factory, django_db_setup):
    """A worker that does not wait long between tries."""
    log = tmp_path_factory.mktemp("impatient") / "log"
    process = start_worker(
        log,
        "-c",
        "1",
        queues="impatient,poll",
        name="impatient",
        DJANGO_SETTINGS_MODULE="tests.tell_settings",
    )
    yield process
    process.kill()


def test_a_worker_posts_how_a_job_ended_again_until_it_is_taken(impatient, alice):
    held = Preferences(user=alice, chosen={"page": [], "webhook": ["succeeded"], "email": ["succeeded"]})
    secret = held.renew_secret()
    with receiver(500, 503) as server:
        held.webhook_url = server.url
        held.save()
        job = ended(start(tasks.add.s(1, 2).set(queue="impatient"), owner=alice, title="Orders of May"))
        # The sweep, which beat runs elsewhere.
        wait_until(lambda: (send_due() or True) and len(server.requests) == 3, what="three tries")
        wait_until(lambda: Delivery.objects.filter(channel="webhook", state="sent").exists(), what="taken")
        send_due()
        # The message of the first try comes again, and one of a try that was not yet: neither does anything.
        delivery = Delivery.objects.get(channel="webhook")
        for delivery.tries in (0, 2):
            assert deliveries.send(delivery)
        ended(start(tasks.add.s(1, 2).set(queue="poll"), title="Behind them in the queue"))
        assert len(server.requests) == 3
    _path, headers, text = server.requests[-1]
    assert Webhook(secret).verify(text, headers)["data"]["job"] == str(job.pk)
    # What tells of a job is no part of it.
    assert not Job.objects.filter(root=job).exists()
    mailed = Delivery.objects.get(channel="email")
    assert (mailed.state, mailed.error) == ("failed", "There is no e-mail address, or the account is closed.")


def test_who_owns_a_job_that_waits_for_somebody_is_told_once(impatient, alice, tmp_path):
    approval = tmp_path / "approval"
    signature = tasks.wait_for_approval.s(str(approval)).set(queue="impatient")
    job = reached(start(signature, owner=alice, title="Draft of May"), State.WAITING)

    def polled(times):
        send_polls()
        job.refresh_from_db()
        return job.polls >= times

    assert waits_for(job) == "Waits for someone: approve the draft"
    wait_until(lambda: polled(3), what="three polls")
    approval.touch()
    wait_until(lambda: polled(4), what="the last poll")
    assert waits_for(ended(job)) == ""
    told = Notification.objects.order_by("pk").values_list("kind", "title")
    wait_until(lambda: told.count() == 2)
    assert list(told) == [("waiting", "Draft of May: approve the draft"), ("succeeded", "Draft of May")]
    assert job.lines.filter(text="Waits for someone: approve the draft").count() == 1
