"""The job that has frames rendered at the farm, and watches."""

import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

from celery import Task, shared_task
from django import forms
from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from status.progress import log, plan, step
from status.registry import startable
from status.sources.remote import poll_again

SUBMIT = gettext_lazy("Submit")
RENDER = pgettext_lazy("frames", "Render")
FRAMES = pgettext_lazy("after a number", "frames")

AFTER_SECONDS = 2.0
DEADLINE_SECONDS = 900.0
TIMEOUT_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 30.0

# What may pass by itself: no connection, a connection cut off, a late answer, a 5xx.
Passing = (OSError, HTTPException)


class FarmRefuses(Exception):
    """The farm answered that it will not, or does not know the render any more; to ask again would not help."""


class RenderForm(forms.Form):
    """Asks how much to render, and how the farm shall behave."""

    frames = forms.IntegerField(
        label=gettext_lazy("How many frames"), min_value=1, max_value=500, initial=240
    )
    behaviour = forms.ChoiceField(
        label=gettext_lazy("The farm"),
        choices=[
            ("good", gettext_lazy("answers as it should")),
            ("slow", gettext_lazy("takes three seconds for each answer")),
            ("flaky", gettext_lazy("fails or hangs up every other time")),
            ("forgets", gettext_lazy("forgets the render half way")),
        ],
    )


@startable(
    form=RenderForm,
    name="render-on-the-farm",
    title=gettext_lazy("Render on the farm"),
    description=gettext_lazy(
        "Has frames rendered by another server and asks every two seconds how far it is. No worker waits for it."
    ),
)
@shared_task(bind=True)
def render_on_the_farm(
    self: "Task[Any, Any]", frames: int, behaviour: str = "good", render: str = ""
) -> dict[str, Any]:
    """Have frames rendered on the farm; one execution submits or looks once.

    Args:
        frames: how many.
        behaviour: how the farm shall answer; see `demo.farm.renders`.
        render: the farm's id; empty until it has one.

    Returns:
        Where the picture is.

    Raises:
        FarmRefuses: the farm does not know the render any more, or did not take it.
        PollAgain: it is not finished.
        DeadlinePassed: it was not finished after a quarter of an hour.

    Example:
        >>> start(render_on_the_farm.s(frames=240), owner=request.user)
    """
    plan({SUBMIT: 1, RENDER: 19})
    pace: dict[str, Any] = {"after": AFTER_SECONDS, "deadline": DEADLINE_SECONDS}
    try:
        if not render:
            render = _submit(frames, behaviour, key=self.request.id or "")
        state = ask("GET", f"/renders/{render}")
    except Passing as error:
        raise poll_again(
            self,
            error=error,
            longest=LONGEST_PAUSE_SECONDS,
            kwargs={"render": render},
            **_stop(render),
            **pace,
        ) from None
    step(RENDER, unit=FRAMES).update(state["done"], total=state["frames"])
    if not state["finished"]:
        raise poll_again(self, kwargs={"render": render}, **_stop(render), **pace)
    return {"url": state["url"], "label": _("See the picture")}


@shared_task
def stop_render(render: str) -> None:
    """Cancel a render at the farm; raises what `ask` does."""
    ask("DELETE", f"/renders/{render}")


def _stop(render: str) -> dict[str, Any]:
    return {"on_cancel": stop_render.si(render)} if render else {}


def _submit(frames: int, behaviour: str, key: str) -> str:
    """The id of a new render; with the job's id as its key, a second try after a lost answer starts no second."""
    with step(SUBMIT):
        state = ask("POST", "/renders", {"frames": frames, "behaviour": behaviour, "key": key})
    log(_("The farm took it as render %s"), state["id"])
    return str(state["id"])


def ask(method: str, path: str, body: Any = None) -> dict[str, Any]:
    """The farm's answer.

    Raises:
        FarmRefuses: it does not know the render, or refuses the request.
        OSError: no connection, no answer in time, or an answer that says so (`HTTPError` is one).
        HTTPException: no proper answer.
    """
    request = urllib.request.Request(  # noqa: S310  # The address is ours.
        settings.FARM_URL + path, json.dumps(body).encode() if body else None, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            state: dict[str, Any] = json.load(answer)
            return state
    except urllib.error.HTTPError as error:
        if error.code == 404:
            raise FarmRefuses(_("The farm does not know this render any more.")) from None
        if error.code < 500:
            raise FarmRefuses(_("The farm refused: %s") % error) from None
        raise
