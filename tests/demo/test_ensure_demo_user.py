import pytest
from django.contrib.auth import authenticate, get_user_model
from django.core.management import call_command

pytestmark = pytest.mark.django_db


def can_log_in(password: str = "demo") -> bool:
    return authenticate(username="demo", password=password) is not None


def test_makes_a_superuser_once(settings):
    settings.DEBUG = True
    call_command("ensure_demo_user")
    call_command("ensure_demo_user")
    assert can_log_in()
    assert get_user_model().objects.get(username="demo").is_superuser


def test_makes_none_without_debug(settings):
    settings.DEBUG = False
    call_command("ensure_demo_user")
    assert not can_log_in()


def test_the_known_password_opens_nothing_once_debug_is_off(settings):
    settings.DEBUG = True
    call_command("ensure_demo_user")
    settings.DEBUG = False
    call_command("ensure_demo_user")
    assert not can_log_in()
    settings.DEBUG = True
    call_command("ensure_demo_user")
    assert can_log_in()


def test_leaves_a_user_alone_whose_password_was_changed(settings):
    settings.DEBUG = True
    call_command("ensure_demo_user")
    user = get_user_model().objects.get(username="demo")
    user.set_password("changed")
    user.save()
    settings.DEBUG = False
    call_command("ensure_demo_user")
    assert can_log_in("changed")
