"""Forms that start jobs over the page's own socket: what a page sends, and the HTML that answers it.

htmx sends the form's values as JSON, and sends again after a reconnect what it could not send before
(https://htmx.org/extensions/ws/). So every form as it is shown carries a key, and one key starts one job.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any
from uuid import uuid4

import msgspec
from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.template.loader import get_template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from status import access, compiled, conf, page_socket, registry, rendering
from status.audit import on_page
from status.forms import focus_first_error
from status.inbound import Allowance, Beyond, TooFast, TooLarge, in_thread
from status.models import Job
from status.regions import LiveForm, Region, Subject, View
from status.registry import Startable
from status.starts import KEY_FIELD, key_of, start_from_form, started_with
from status.visitors import read_visitors

logger = logging.getLogger(__name__)

PLACE_FIELD = "start_form"
"""The hidden field with the id of the form."""

MOST_SHOWN = 5
"""So many jobs that a form has started are shown below it, the newest."""

LONGEST_KEY = 100

_OF_FORM_DATA = {"HEADERS", "append", "constructor", "delete", "entries", "forEach", "get", "getAll", "has"}
_OF_FORM_DATA |= {"keys", "set", "toString", "values"}
"""htmx reads a field of such a name as what the browser's FormData calls so, and sends nothing of it."""

_decoder = msgspec.json.Decoder(dict[str, str | list[str] | dict[str, Any]])


class _Unusable(Exception):
    """A message from which nothing can be started; the text is for the page."""


def why_not(form: forms.BaseForm) -> str:
    """Why a form cannot go over a socket, for its developer; empty if it can."""
    if form.is_multipart():
        return "it has a field for files, and a socket takes none"
    if form.prefix:
        return "it has a prefix, which what is started would not know"
    taken = sorted(_OF_FORM_DATA & set(form.fields))
    return f"htmx cannot send a field that is named {taken[0]}" if taken else ""


def element(request: Any, startable: Startable | str, form: forms.BaseForm | None, id_: str) -> str:
    """What `{% live_form %}` emits; notes the form on the request, for the page's socket.

    Raises:
        ValueError: there is no such startable, its form cannot go over a socket, or the id is none.
    """
    entry = registry.startables.get(startable) if isinstance(startable, str) else startable
    if entry is None:
        names = ", ".join(registry.startables) or "none"
        raise ValueError(f"nothing is named {startable!r}. Known: {names}.")
    if not registry.may_start(request.user, entry):
        return ""
    noted: list[LiveForm] = request.__dict__.setdefault("_status_forms", [])
    taken = {place.id for place in noted}
    wanted = id_ or f"start-{entry.name}"
    place = LiveForm(entry.name, next(name for name in _numbered(wanted) if name not in taken))
    form = entry.form(auto_id=auto_id(place)) if form is None else form
    reason = why_not(form)
    if reason:
        address = f'{{% url "status:start" "{entry.name}" %}}'
        raise ValueError(
            f"the form of {entry.name} cannot go over a socket: {reason}. Link to its own page: {address}."
        )
    noted.append(place)
    context = {
        "place": place,
        "place_field": PLACE_FIELD,
        "action": reverse("status:start", args=[entry.name]),
        "fields": fields(place, form),
    }
    return get_template("status/live_form.html").render(context, request)


def _numbered(name: str) -> Iterator[str]:
    yield name
    for number in count(2):
        yield f"{name}-{number}"


def fields(place: LiveForm, form: forms.BaseForm, key: str = "", started: Job | None = None) -> SafeString:
    """What stands in a form and is swapped: its key, its fields, what is wrong, or what it has started.

    Args:
        place: the form on its page.
        form: filled in or not.
        key: what its next submission starts is known by; empty: a new one.
        started: the job that it has just started.
    """
    context = {"key_field": KEY_FIELD, "key": key or uuid4().hex, "form": form, "job": started}
    return mark_safe(get_template("status/live_form_fields.html").render(context))  # noqa: S308


def auto_id(place: LiveForm) -> str:
    """The pattern of its fields' ids, which no other form on the page has."""
    return f"{place.id}-%s"


def answer(view: View, user: Any, text: str) -> str:
    """Do what a message of a page's form asks for; reads and writes the database.

    Args:
        view: of the page.
        user: who is logged in now, on the session of the page.
        text: the message: the form's values as JSON.

    Returns:
        Fragments for the page: the form with what is wrong, or the started job and a socket that shows it too.

    Example:
        >>> answer(view, user, '{"start_form": "farm", "start_key": "9f…", "frames": "0"}')
        '<div id="farm-fields" hx-swap-oob="innerHTML">…'
    """
    with rendering.look_of(view):
        try:
            place, entry, data, key = _read(view, user, text)
        except _Unusable as unusable:
            return _note(str(unusable))
        form = entry.form(data, auto_id=auto_id(place))
        job = _start(entry, form, user, key)
        if job is None:
            focus_first_error(form)
            return _swap(f"{place.id}-fields", fields(place, form, key)) + _note("")
        return _started(view, place, entry, job)


class Submissions:
    """What one socket is sent by the forms of its page."""

    def __init__(self, view: View, session_key: str | None) -> None:
        """`view` is that of the page, `session_key` names the session with which it was opened."""
        self._view, self._session_key = view, session_key
        self._allowance = Allowance()

    async def answer(self, text: str | None) -> str:
        """Do what a message asks for; returns fragments for the page, also about what went wrong.

        Args:
            text: as it came; None if the message was binary.
        """
        try:
            return await in_thread(self._answer, self._allowance.take(text))
        except Beyond as beyond:
            return _refusal(self._view, beyond)
        except Exception:
            logger.exception("A form of a page was not done")
            return _fault(self._view)

    def _answer(self, text: str) -> str:
        # Who asks is read anew each time: a login ends, a permission is taken away, a person leaves.
        (visitor,) = read_visitors([self._session_key or ""])
        return answer(self._view, visitor.user, text)


def _refusal(view: View, beyond: Beyond) -> str:
    """What a page is told about a message that is not taken."""
    settings = conf.current()
    with rendering.look_of(view):
        match beyond:
            case TooFast():
                return _note(_("Not started: that was too often. Wait a second, and press Start again."))
            case TooLarge():
                most = settings.socket_message_bytes // 1024
                return _note(_("Not started: this is more than %d KB. Enter less.") % most)
            case _:
                return _not_understood()


def _fault(view: View) -> str:
    """What a page is told when the server failed; the form keeps its key, so that nothing starts twice."""
    with rendering.look_of(view):
        return _note(
            _("It is not sure whether this was started, by a fault of the server. Press Start again.")
        )


def _read(view: View, user: Any, text: str) -> tuple[LiveForm, Startable, QueryDict, str]:
    """The form that a message is of, what it starts, its data, and its key."""
    try:
        values = _decoder.decode(text.encode("utf-8", "surrogatepass"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _Unusable(_not_understood_text()) from error
    data = QueryDict(mutable=True)
    for name, value in values.items():
        if isinstance(value, str):
            data[name] = value
        elif isinstance(value, list):
            data.setlist(name, value)
    place = next((form for form in view.forms if form.id == data.get(PLACE_FIELD)), None)
    key = str(data.get(KEY_FIELD, ""))
    if place is None or not key or len(key) > LONGEST_KEY:
        raise _Unusable(_not_understood_text())
    entry = registry.startables.get(place.startable)
    if entry is None or access.user_key(user) != view.user or not registry.may_start(user, entry):
        raise _Unusable(
            _("Not started: you may not start this any more. Load the page again to see what you may.")
        )
    return place, entry, data, key


def _start(entry: Startable, form: forms.Form, user: Any, key: str) -> Job | None:
    """The job that the form's key names, or a new one; None when the form is not valid."""
    held = started_with("form", user, key)
    if held is not None:
        return held
    if not form.is_valid():
        return None
    try:
        return start_from_form(entry, form, user, key_of("form", user, key), actor=on_page(user))
    except ValidationError as error:
        form.add_error(None, error)
        return None


def _started(view: View, place: LiveForm, entry: Startable, job: Job) -> str:
    """The form anew with another key, the jobs it has started, and a socket that shows them as well."""
    form = _swap(f"{place.id}-fields", fields(place, entry.form(auto_id=auto_id(place)), started=job))
    begins = f"{place.id}-job-"
    region = Region(Subject.job(job.pk), rendering.CARD, f"{begins}{job.pk.hex[:12]}")
    others = [held for held in reversed(view.regions) if held.id.startswith(begins) and held != region]
    shown = [region, *others][:MOST_SHOWN]
    kept = tuple(held for held in view.regions if held not in others and held != region)
    try:
        socket = page_socket.element(replace(view, regions=(*kept, *reversed(shown))), refresh_seconds=0)
    except ValueError as error:
        logger.warning("Job %s was started and is not shown live on its page: %s", job.pk, error)
        return form
    return form + _swap(f"{place.id}-jobs", _cards(shown)) + socket


def _cards(regions: list[Region]) -> SafeString:
    found = rendering.load(region.subject for region in regions)
    pairs = [(region, found[region.subject]) for region in regions]
    return mark_safe(  # noqa: S308
        "".join(
            rendering.card(shown.job, region, rendering.render(region, shown))
            for region, shown in pairs
            if shown.job is not None
        )
    )


def _swap(element_id: str, inner: SafeString) -> str:
    return format_html('<div id="{}" hx-swap-oob="innerHTML">{}</div>', element_id, inner)


def _note(text: str) -> str:
    return compiled.show("status/partials/live_note.html", {"text": text})


def _not_understood() -> str:
    return _note(_not_understood_text())


def _not_understood_text() -> str:
    return _("Not started: the server did not understand the page. Load it again.")
