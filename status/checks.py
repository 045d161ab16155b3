"""System checks: what is misconfigured, and how to mend it."""

from typing import Any
from urllib.parse import urlsplit

from celery import current_app
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register

from status import conf, rules
from status.models import Delivery
from status.sources.prune import check


def connect() -> None:
    """Register the checks; called once when the app is ready."""
    register(check_settings, Tags.compatibility)
    register(check_channel_layer, Tags.compatibility)
    register(check_retention, Tags.compatibility)
    register(check_access, Tags.compatibility)
    register(check_worker_pool, Tags.compatibility)
    register(check_middleware, Tags.compatibility)
    register(check_site_url, Tags.compatibility)


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """`STATUS` is a dict whose keys are known."""
    given = getattr(settings, "STATUS", {})
    if not isinstance(given, dict):
        return [Error("STATUS is not a dict.", hint='Write STATUS = {"BEAT_SECONDS": 10}.', id="status.E001")]
    unknown = sorted(set(given) - conf.known_names())
    hint = f"Known keys: {', '.join(sorted(conf.known_names()))}."
    return [Error(f"STATUS has an unknown key {key!r}.", hint=hint, id="status.E001") for key in unknown]


def check_channel_layer(**kwargs: Any) -> list[CheckMessage]:
    """There is a channel layer, and workers can reach it."""
    alias = conf.current().channel_layer
    backend = getattr(settings, "CHANNEL_LAYERS", {}).get(alias, {}).get("BACKEND", "")
    if not backend:
        hint = f"Set CHANNEL_LAYERS[{alias!r}] to channels_redis.pubsub.RedisPubSubChannelLayer."
        return [Error(f"There is no channel layer {alias!r}.", hint=hint, id="status.E002")]
    if "InMemory" in backend:
        hint = "Use channels_redis.pubsub.RedisPubSubChannelLayer; workers are other processes."
        return [
            checks.Warning(
                "The in-memory channel layer reaches no other process.", hint=hint, id="status.W001"
            )
        ]
    return []


def check_retention(**kwargs: Any) -> list[CheckMessage]:
    """What is kept is said in numbers; a negative age would be in the future, and everything older."""
    try:
        check(conf.current().keep_days, conf.current().keep_jobs)
        check(conf.current().keep_audit_days, None)
    except ValueError as error:
        hint = "Set KEEP_DAYS, KEEP_JOBS and KEEP_AUDIT_DAYS in STATUS; until then nothing is pruned."
        return [Error(str(error), hint=hint, id="status.E003")]
    return []


def check_access(**kwargs: Any) -> list[CheckMessage]:
    """The rule that says who may see what is there; without it every page would be an error."""
    try:
        rules.load(conf.current().access)
    except (ImportError, TypeError) as error:
        hint = 'Set STATUS["ACCESS"] to the dotted path of a subclass of status.rules.Rule.'
        return [Error(str(error), hint=hint, id="status.E004")]
    return []


def check_worker_pool(**kwargs: Any) -> list[CheckMessage]:
    """A pool of greenlets is chosen on the command line: Celery reads a setting too late to patch anything."""
    pool = current_app.conf.worker_pool
    if pool not in {"gevent", "eventlet"}:
        return []
    hint = f"Take it out of the settings, and start the worker with -P {pool}. It says then what else it cannot do."
    return [checks.Warning(f"The setting worker_pool is {pool!r}.", hint=hint, id="status.W002")]


def check_middleware(**kwargs: Any) -> list[CheckMessage]:
    """Views can tell htmx's requests from the browser's own."""
    if any(path.endswith("HtmxMiddleware") for path in getattr(settings, "MIDDLEWARE", None) or ()):
        return []
    hint = 'Add "django_htmx.middleware.HtmxMiddleware" to MIDDLEWARE.'
    text = "Without HtmxMiddleware, forms are answered with whole pages where a part would do."
    return [checks.Warning(text, hint=hint, id="status.W003")]


def check_site_url(**kwargs: Any) -> list[CheckMessage]:
    """Who may choose e-mail gets links that lead somewhere."""
    url = conf.current().site_url
    unknown = sorted(set(conf.current().tell_by) - set(Delivery.Channel.values))
    found: list[CheckMessage] = []
    if unknown:
        hint = f"Known ways: {', '.join(Delivery.Channel.values)}."
        found.append(Error(f"TELL_BY has an unknown way {unknown[0]!r}.", hint=hint, id="status.E004"))
    if url and urlsplit(url).scheme not in {"http", "https"}:
        hint = 'Write "SITE_URL": "https://jobs.example.org" in STATUS.'
        found.append(Error(f"SITE_URL is no address of a site: {url!r}.", hint=hint, id="status.E005"))
    if not url and "email" in conf.current().tell_by:
        hint = 'Set SITE_URL in STATUS, or leave "email" out of TELL_BY. Until then e-mail cannot be chosen.'
        found.append(
            checks.Warning(
                "Links in e-mails would lead nowhere: SITE_URL is not set.", hint=hint, id="status.W004"
            )
        )
    return found
