"""What goes out by e-mail and webhook: to real receivers on this machine, by the task that a worker runs."""

import json
import socket
import ssl
import threading
import time
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core import mail as django_mail
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.http import http_date
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from status import deliveries, mail
from status.models import Delivery, Job, Notification, Preferences
from status.models.preferences import all_on_the_page
from status.notifications import notify
from status.sources import delivering, sweep
from status.states import State
from tests.receivers import drip, hang, later, mail_server, receiver, redirect_to

pytestmark = pytest.mark.django_db

SITE = "https://jobs.example.org"
ON_PAGE = all_on_the_page()
HERE = {"SITE_URL": SITE, "WEBHOOK_HTTP": True, "WEBHOOK_PRIVATE": True, "DELIVERY_TIMEOUT_SECONDS": 5.0}


@pytest.fixture
def broker(monkeypatch):
    """The messages that ask for a try; `work` has them done as a worker would."""

    class Broker(list):
        down = False

        def work(self):
            while self:
                delivering.deliver.run(*self.pop(0))

    messages = Broker()

    def send_task(name, args):
        if messages.down:
            raise ConnectionError("the broker is down")
        assert name == delivering.deliver.name
        messages.append(args)

    monkeypatch.setattr("celery.current_app.send_task", send_task)
    return messages


@pytest.fixture
def here(settings):
    settings.STATUS = HERE
    return settings


def choose(user, **chosen):
    return Preferences.objects.create(user=user, chosen=ON_PAGE | chosen, language="en")


@pytest.fixture
def by_mail(alice, here, settings):
    """Alice is told of all by e-mail, which goes to `server`."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_USE_TLS, settings.EMAIL_USE_SSL = "127.0.0.1", False, False
    settings.EMAIL_HOST_USER = ""
    alice.email = "alice@example.org"
    alice.save()
    return choose(alice, email=Notification.Kind.values)


def to_hook(user, url):
    held = Preferences(user=user, chosen=ON_PAGE | {"webhook": Notification.Kind.values}, webhook_url=url)
    secret = held.renew_secret()
    held.save()
    return secret


def tell(capture, user, title="Report ready", **options):
    with capture(execute=True):
        return notify(user, title, **options)


def come_due():
    Delivery.objects.exclude(due_at=None).update(due_at=timezone.now() - timedelta(seconds=1))


@pytest.fixture
def capture(django_capture_on_commit_callbacks):
    return django_capture_on_commit_callbacks


def test_a_webhook_that_fails_twice_is_taken_the_third_time_and_signed_each_time(
    alice, here, broker, capture
):
    with receiver(500, 503) as server:
        secret = to_hook(alice, server.url)
        job = Job.objects.create(task="t", title="Orders of May", owner=alice)
        with capture(execute=True):
            Job.objects.advance(job.pk, State.FAILED, attempt=1)
        delivery = Delivery.objects.get()
        for tries, error in [(1, "500 Internal Server Error"), (2, "503 Service Unavailable")]:
            broker.work()
            delivery.refresh_from_db()
            assert (delivery.state, delivery.tries) == ("pending", tries)
            assert error in delivery.error
            assert delivery.due_at > timezone.now()
            assert sweep.delivering.send_due() == 0
            come_due()
            assert sweep.delivering.send_due() == 1
        broker.work()
        delivery.refresh_from_db()
        assert (delivery.state, delivery.tries, delivery.due_at, delivery.error) == ("sent", 3, None, "")
        assert sweep.delivering.send_due() == 0
    told = Notification.objects.get()
    assert len(server.requests) == 3
    for path, headers, text in server.requests:
        assert path == "/hook?a=1"
        said = Webhook(secret).verify(text, headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(text + b" ", headers)
        assert said["type"] == "job.failed"
        assert said["data"] == {
            "notification": told.pk,
            "title": "Orders of May",
            "url": f"{SITE}/jobs/{job.pk}/",
            "job": str(job.pk),
            "attempt": 1,
        }
    assert len({headers["webhook-id"] for _path, headers, _text in server.requests}) == 1


def test_a_message_that_comes_twice_sends_once(alice, here, broker, capture):
    with receiver() as server:
        to_hook(alice, server.url)
        tell(capture, alice)
        broker.extend([list(broker[0]), list(broker[0])])
        broker.work()
        assert len(server.requests) == 1


def test_a_message_for_an_earlier_try_does_not_come_before_its_time(alice, here, broker, capture):
    with receiver(500) as server:
        to_hook(alice, server.url)
        tell(capture, alice)
        broker.append(list(broker[0]))
        broker.work()
        assert len(server.requests) == 1
        assert Delivery.objects.get().state == "pending"


@pytest.mark.parametrize("kind", [hang, drip])
def test_a_receiver_that_does_not_end_its_answer_is_cut(kind, alice, here, broker, capture):
    here.STATUS = HERE | {"DELIVERY_TIMEOUT_SECONDS": 0.3}
    released = threading.Event()
    with receiver(kind(released)) as server:
        to_hook(alice, server.url)
        tell(capture, alice)
        broker.work()
        released.set()
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.error) == ("pending", "The receiver did not answer in time.")


def test_a_receiver_that_takes_no_connection_is_cut(alice, here, broker, capture):
    """TLS is spoken to one who says nothing."""
    here.STATUS = HERE | {"DELIVERY_TIMEOUT_SECONDS": 0.3}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        to_hook(alice, f"https://127.0.0.1:{silent.getsockname()[1]}/")
        tell(capture, alice)
        broker.work()
    assert Delivery.objects.get().error == "The receiver did not answer in time."


def test_redirects_are_not_followed(alice, here, broker, capture):
    with receiver() as inside, receiver(redirect_to(inside.url)) as server:
        to_hook(alice, server.url)
        tell(capture, alice)
        broker.work()
        assert inside.requests == []
    delivery = Delivery.objects.get()
    assert delivery.state == "pending"
    assert delivery.error == "The receiver answered 302 Found. Redirects are not followed."


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("900", 890, 900),
        ("9" * 400, 43_100, 43_200),
        (+900, 880, 900),
        (-900, 0, 11),
        ("soon", 0, 11),
        ("-5", 0, 11),
    ],
)
def test_a_receiver_is_left_alone_as_long_as_it_asks(said, least, most, alice, here, broker, capture):
    when = said if isinstance(said, str) else http_date(time.time() + said)
    with receiver(later(when)) as server:
        to_hook(alice, server.url)
        tell(capture, alice)
        broker.work()
        delivery = Delivery.objects.get()
        assert (delivery.state, "429" in delivery.error) == ("pending", True)
        assert least <= (delivery.due_at - timezone.now()).total_seconds() <= most


def test_a_receiver_that_is_gone_for_good_is_not_asked_again(alice, here, broker, capture):
    with receiver(410) as server:
        to_hook(alice, server.url)
        tell(capture, alice)
        broker.work()
    assert Delivery.objects.get().state == "failed"


def test_after_the_last_try_it_is_given_up_and_the_user_sees_that_once(alice, here, broker, capture):
    here.STATUS = HERE | {"DELIVERY_TRIES": 2}
    with receiver(500, 500, 500, 500) as server:
        to_hook(alice, server.url)
        for _number in range(2):
            tell(capture, alice)
            broker.work()
            come_due()
            delivering.send_due()
            broker.work()
        assert len(server.requests) == 4
    assert list(Delivery.objects.values_list("state", "due_at")) == [("failed", None)] * 2
    told = list(Notification.objects.filter(title__startswith="Could not be delivered"))
    assert [(row.title, row.url, row.is_read) for row in told] == [
        ("Could not be delivered (Webhook). See your preferences.", "/jobs/notifications/preferences/", False)
    ]
    assert told[0].deliveries.count() == 0


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "0.0.0.0"],
)
def test_nothing_is_sent_to_an_address_that_is_not_public(host, alice, here, broker, capture):
    here.STATUS = HERE | {"WEBHOOK_PRIVATE": False}
    with receiver() as server:
        to_hook(alice, f"http://{host}:{server.server_port}/")
        tell(capture, alice)
        broker.work()
        assert server.requests == []
    delivery = Delivery.objects.get()
    assert delivery.state == "failed"
    assert "is not a public address" in delivery.error


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    alice, here, broker, capture, monkeypatch
):
    """A name that leads elsewhere when it is looked up a second time gains nothing."""
    asked = []

    def look_up(host, port, *args, **options):
        asked.append(host)
        address = "127.0.0.1" if host in {"hooks.example.org", "127.0.0.1"} else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with receiver() as server:
        to_hook(alice, f"http://hooks.example.org:{server.server_port}/")
        tell(capture, alice)
        broker.work()
        assert [headers["host"] for _path, headers, _text in server.requests] == [
            f"hooks.example.org:{server.server_port}"
        ]
    assert asked.count("hooks.example.org") == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """For `hooks.example.org`, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.example.org")])
    now = timezone.now()
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
    made = made.add_extension(
        x509.SubjectAlternativeName([x509.DNSName("hooks.example.org")]), critical=False
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    signed = made.sign(key, hashes.SHA256()).public_bytes(pem)
    path.write_bytes(key.private_bytes(pem, *plain) + signed)
    return path


@pytest.mark.parametrize(("name", "state"), [("hooks.example.org", "sent"), ("other.example.org", "pending")])
def test_the_certificate_must_be_for_the_name_in_the_address(
    name, state, certificate, alice, here, broker, capture, monkeypatch
):
    here_it_is = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
    look_up = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **o: here_it_is if host == name else look_up(host, *rest, **o),
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with receiver() as server:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        to_hook(alice, f"https://{name}:{server.server_port}/")
        tell(capture, alice)
        broker.work()
    delivery = Delivery.objects.get()
    assert delivery.state == state
    assert ("certificate" in delivery.error) == (state == "pending")


def test_while_the_broker_is_down_nothing_is_lost(alice, here, broker, capture):
    broker.down = True
    with receiver() as server:
        to_hook(alice, server.url)
        tell(capture, alice)
        assert broker == []
        come_due()
        assert delivering.send_due() == 0
        broker.down = False
        assert delivering.send_due() == 1
        assert delivering.send_due() == 0
        broker.work()
        assert len(server.requests) == 1


def test_what_is_rolled_back_never_goes_out(job_of_alice, broker, capture, monkeypatch):
    def die(*args, **options):
        raise RuntimeError

    monkeypatch.setattr("status.deliveries.Delivery.objects.bulk_create", die)
    with capture(execute=True), pytest.raises(RuntimeError):
        Job.objects.advance(job_of_alice.pk, State.SUCCEEDED, attempt=1)
    job_of_alice.refresh_from_db()
    assert job_of_alice.state == State.QUEUED
    assert not Notification.objects.exists()
    assert broker == []


@pytest.fixture
def job_of_alice(alice, here):
    to_hook(alice, "https://hooks.example.org/")
    return Job.objects.create(task="t", title="Orders of May", owner=alice)


def test_an_e_mail_has_both_parts_a_link_and_the_way_to_end_it(alice, by_mail, broker, capture, settings):
    job = Job.objects.create(task="t", title="Orders\n<of> May", owner=alice)
    with mail_server() as server:
        settings.EMAIL_PORT = server.port
        with capture(execute=True):
            Job.objects.advance(job.pk, State.SUCCEEDED, attempt=1)
        broker.work()
    delivery, (letter,) = Delivery.objects.get(), server.letters
    assert delivery.state == "sent"
    assert letter["Subject"] == "Orders <of> May: Succeeded"
    assert letter["To"] == "alice@example.org"
    no_mail = letter["List-Unsubscribe"].strip(" <>")
    assert no_mail.startswith(f"{SITE}/jobs/notifications/no-mail/{alice.pk}:")
    assert letter["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["Message-ID"] == f"<{delivery.pk}@jobs.example.org>"
    link = f"{SITE}/jobs/notifications/{delivery.notification_id}/"
    text, html = (letter.get_body([kind]).get_content() for kind in ("plain", "html"))
    assert link in text
    assert f'<a href="{link}">' in html
    assert no_mail in text
    assert f'<a href="{no_mail}">' in html
    assert "<of> May: Succeeded" in text
    assert "&lt;of&gt; May" in html


def test_a_mail_program_ends_the_e_mails_with_one_post_and_no_login(alice, by_mail):
    client, path = Client(enforce_csrf_checks=True), mail.way_out(alice)
    assert "No more e-mails?" in client.get(path).content.decode()
    by_mail.refresh_from_db()
    assert by_mail.chosen["email"]
    response = client.post(path, {"List-Unsubscribe": "One-Click"})
    assert "You get no more e-mails" in response.content.decode()
    by_mail.refresh_from_db()
    assert by_mail.chosen == ON_PAGE | {"email": []}


def test_a_way_out_that_was_made_up_ends_nothing(alice, bob, by_mail):
    forged = mail.way_out(bob).replace(f"{bob.pk}:", f"{alice.pk}:")
    for path in (forged, reverse("status:no-mail", args=[alice.pk])):
        assert Client().post(path).status_code == 404
    by_mail.refresh_from_db()
    assert by_mail.chosen["email"]


def test_who_has_chosen_nothing_may_leave_as_well(bob):
    assert Client().post(mail.way_out(bob)).status_code == 200
    assert not Preferences.objects.exists()


def test_an_e_mail_is_in_the_language_that_was_chosen_in(alice, by_mail, broker, capture, settings):
    Preferences.objects.update(language="de")
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    job = Job.objects.create(task="t", title="Bericht", owner=alice)
    with capture(execute=True):
        Job.objects.advance(job.pk, State.SUCCEEDED, attempt=1)
    broker.work()
    (letter,) = django_mail.outbox
    assert '<html lang="de" dir="ltr">' in letter.alternatives[0].content


@pytest.mark.parametrize(
    ("at", "state", "letters"),
    [
        ({"CONNECT": ["421 busy"]}, "pending", 0),
        ({"MAIL": ["451 later"]}, "pending", 0),
        ({"RCPT": ["450 greylisted"]}, "pending", 0),
        ({"RCPT": ["550 nobody here"]}, "failed", 0),
        ({"END": ["452 full"]}, "pending", 1),
        ({"END": ["hang up"]}, "failed", 1),
    ],
)
def test_an_e_mail_is_tried_again_only_if_it_surely_did_not_go(
    at, state, letters, alice, by_mail, broker, capture, settings
):
    with mail_server(**at) as server:
        settings.EMAIL_PORT = server.port
        tell(capture, alice)
        broker.work()
        delivery = Delivery.objects.get()
        assert (delivery.state, len(server.letters)) == (state, letters)
        assert delivery.error
        come_due()
        delivering.send_due()
        broker.work()
        delivery.refresh_from_db()
        assert delivery.state == ("sent" if state == "pending" else "failed")
        assert len(server.letters) == letters + (state == "pending")


def test_without_a_mail_server_it_is_tried_again(alice, by_mail, broker, capture, settings):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings.EMAIL_PORT = taken.getsockname()[1]
    tell(capture, alice)
    broker.work()
    assert Delivery.objects.get().state == "pending"


@pytest.mark.parametrize(("channel", "state"), [("email", "failed"), ("webhook", "pending")])
def test_what_a_lost_worker_had_claimed_goes_again_only_if_twice_does_no_harm(alice, broker, channel, state):
    told = Notification.objects.create(owner=alice, title="T")
    lost = Delivery.objects.create(notification=told, user=alice, channel=channel)
    assert deliveries.claim(lost.pk, 0)
    assert delivering.send_due() == 0
    come_due()
    delivering.send_due()
    lost.refresh_from_db()
    assert (lost.state, lost.tries) == (state, 1)
    assert "The worker was lost" in lost.error


def test_who_outlives_the_lease_has_the_last_word(alice):
    told = Notification.objects.create(owner=alice, title="T")
    Delivery.objects.create(notification=told, user=alice, channel="email")
    claimed = deliveries.claim(Delivery.objects.get().pk, 0)
    come_due()
    delivering.send_due()
    assert Delivery.objects.get().state == "failed"
    deliveries.note_sent(claimed)
    assert Delivery.objects.get().state == "sent"


def test_pauses_grow_fourfold_and_are_spread(settings):
    settings.STATUS = {"DELIVERY_RETRY_SECONDS": 10.0}
    found = [{deliveries.pause_seconds(tries) for _ in range(50)} for tries in range(1, 12)]
    for tries, pauses in enumerate(found, 1):
        longest = min(10 * 4 ** (tries - 1), deliveries.LONGEST_PAUSE_SECONDS)
        assert all(longest / 2 <= pause <= longest for pause in pauses)
        assert len(pauses) > 10


def test_each_kind_goes_where_it_was_chosen_to(alice, here, broker, capture):
    choose(alice, page=["failed"], email=["failed"], webhook=["succeeded"])
    for state in (State.SUCCEEDED, State.FAILED, State.CANCELLED):
        job = Job.objects.create(task="t", title=state, owner=alice)
        with capture(execute=True):
            Job.objects.advance(job.pk, state, attempt=1)
    found = [
        (row.kind, row.deliveries.values_list("channel", flat=True).first(), not row.is_read)
        for row in Notification.objects.order_by("kind")
    ]
    assert found == [
        ("cancelled", None, False),
        ("failed", "email", True),
        ("succeeded", "webhook", False),
    ]


def test_a_channel_that_the_site_no_longer_offers_is_not_used(alice, settings):
    settings.STATUS = {"TELL_BY": ["webhook"]}
    choose(alice, email=["message"], webhook=["message"])
    notify(alice, "Report ready")
    assert Delivery.objects.get().channel == "webhook"


def test_who_has_chosen_nothing_costs_no_query_more(alice, bob, here, django_assert_num_queries):
    """A savepoint in this test, the row with what its owner chose, the notification."""
    choose(bob, webhook=["succeeded"])
    for owner, count in [(alice, 4), (bob, 6)]:
        job = Job.objects.create(task="t", title="T", owner=owner)
        with django_assert_num_queries(count):
            Job.objects.advance(job.pk, State.SUCCEEDED, attempt=1)


def test_what_is_due_is_found_by_an_index(alice, db):
    due = Delivery.objects.filter(due_at__lte=timezone.now()).order_by("due_at")
    last = Delivery.objects.filter(user=alice, channel="email").order_by("-created_at")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
    assert "status_delivery_due" in due.explain()
    assert "status_delivery_last" in last.explain()


def test_a_secret_outlives_a_change_of_the_project_s_key(alice, here, broker, capture):
    with receiver() as server:
        secret = to_hook(alice, server.url)
        here.SECRET_KEY, here.SECRET_KEY_FALLBACKS = "a new one", [here.SECRET_KEY]
        tell(capture, alice)
        broker.work()
        _path, headers, text = server.requests[0]
    assert Webhook(secret).verify(text, headers)["data"]["title"] == "Report ready"
    assert secret not in json.dumps(list(Preferences.objects.values()), default=str)
