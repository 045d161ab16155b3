"""Who comes over a socket."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from status.visitors import cookies_of, read_visitors

pytestmark = pytest.mark.django_db


def session_of(user):
    client = Client()
    client.force_login(user)
    return client.cookies["sessionid"].value


def test_one_query_reads_all_sessions_and_one_each_user(alice, bob, django_assert_num_queries):
    keys = [session_of(alice), session_of(bob), session_of(bob)]
    with django_assert_num_queries(4):
        found = read_visitors([*keys, *keys, ""])
    assert [visitor.user for visitor in found[:3]] == [alice, bob, bob]
    assert [visitor.session_key for visitor in found] == [*keys, *keys, None]
    assert not found[-1].user.is_authenticated


@pytest.mark.parametrize(
    "key", ["unknownunknownunknownunknown1234", "short", "\0" * 32, "é" * 32, "x" * 5000]
)
def test_what_is_no_session_is_nobody_and_harms_nobody(alice, key):
    nobody, somebody = read_visitors([key, session_of(alice)])
    assert not nobody.user.is_authenticated
    assert nobody.session_key is None
    assert somebody.user == alice


def test_an_expired_session_is_nobody(alice):
    key = session_of(alice)
    Session.objects.update(expire_date=timezone.now())
    assert not read_visitors([key])[0].user.is_authenticated


def test_a_session_from_before_the_password_was_changed_is_nobody_and_stays_as_it_is(alice):
    key = session_of(alice)
    alice.set_password("another")
    alice.save()
    assert not read_visitors([key])[0].user.is_authenticated
    assert Session.objects.filter(pk=key).exists()


def test_one_who_may_not_log_in_any_more_is_nobody(alice):
    key = session_of(alice)
    get_user_model().objects.update(is_active=False)
    assert not read_visitors([key])[0].user.is_authenticated


def test_sessions_are_read_wherever_they_are(alice, settings):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    assert read_visitors([session_of(alice)])[0].user == alice


@pytest.mark.parametrize(
    ("headers", "cookies"),
    [([(b"cookie", b"a=b; sessionid=abc")], {"a": "b", "sessionid": "abc"}), ([(b"host", b"x")], {})],
)
def test_cookies_are_read_from_the_scope(headers, cookies):
    assert cookies_of({"headers": headers}) == cookies
