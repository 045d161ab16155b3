import pytest
from celery import current_app
from django.core.checks import run_checks

from status import conf


def test_settings_take_effect_at_once(settings):
    assert conf.current().beat_seconds == 10
    settings.STATUS = {"BEAT_SECONDS": 3, "PUBLIC_TOPICS": ["news"]}
    assert conf.current().beat_seconds == 3
    assert conf.current().public_topics == ("news",)


@pytest.mark.parametrize(
    ("status", "message"),
    [({"BEET_SECONDS": 3}, "STATUS has an unknown key 'BEET_SECONDS'."), (["x"], "STATUS is not a dict.")],
)
def test_a_typing_error_is_told(settings, status, message):
    settings.STATUS = status
    assert conf.current() == conf.Conf()
    assert message in [problem.msg for problem in run_checks()]


def test_a_missing_channel_layer_is_told(settings):
    settings.CHANNEL_LAYERS = {}
    assert [p.id for p in run_checks() if p.id and p.id.startswith("status")] == ["status.E002"]


def test_the_in_memory_layer_is_warned_of(settings):
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    assert [p.id for p in run_checks() if p.id and p.id.startswith("status")] == ["status.W001"]


def test_a_pool_of_greenlets_chosen_by_a_setting_is_warned_of(monkeypatch):
    monkeypatch.setitem(current_app.conf.changes, "worker_pool", "gevent")
    (problem,) = [p for p in run_checks() if p.id and p.id.startswith("status")]
    assert problem.id == "status.W002"
    assert "-P gevent" in problem.hint


def test_a_missing_middleware_is_warned_of(settings):
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "htmx" not in name]
    assert [p.id for p in run_checks() if p.id and p.id.startswith("status")] == ["status.W003"]


def test_the_project_has_no_complaints():
    assert [p for p in run_checks() if p.id and p.id.startswith("status")] == []
