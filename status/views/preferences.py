"""What a person wants to be told, and how."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from status import conf, webhooks
from status.mail import address_of
from status.models import Delivery, Notification, Preferences
from status.models.preferences import CHANNELS as NAMES
from status.notifications import send_test
from status.pages import render

KINDS = {
    Notification.Kind.SUCCEEDED: _("A job of yours succeeded"),
    Notification.Kind.FAILED: _("A job of yours failed"),
    Notification.Kind.CANCELLED: _("A job of yours was cancelled"),
    Notification.Kind.WAITING: _("A job of yours waits for someone"),
    Notification.Kind.MESSAGE: _("A task has something to say"),
}
CHANNELS = {"page": _("On the page"), "email": _("E-mail"), "webhook": _("Webhook")}


class PreferencesForm(forms.Form):
    """A box for each kind and channel, and the address of the webhook."""

    webhook_url = forms.URLField(
        label=_("Webhook address"),
        required=False,
        max_length=webhooks.LONGEST_ADDRESS,
        assume_scheme="https",
        help_text=_("What is chosen above is sent there as a signed POST with JSON."),
        widget=forms.URLInput({"dir": "ltr"}),
    )

    def __init__(self, data: Any, *, held: Preferences) -> None:
        super().__init__(data, initial={**held.chosen, "webhook_url": held.webhook_url})
        self.channels = [name for name in NAMES if name == "page" or name in conf.current().tell_by]
        for name in self.channels:
            boxes = forms.CheckboxSelectMultiple()
            field = forms.MultipleChoiceField(
                choices=list(KINDS.items()), required=False, widget=boxes, label=CHANNELS[name]
            )
            self.fields[name] = field
        if "email" in self.channels:
            self.fields["email"].disabled = bool(no_email(held.user))
        if "webhook" not in self.channels:
            del self.fields["webhook_url"]

    def rows(self) -> list[tuple[Any, list[tuple[Any, Any]]]]:
        """Each kind's name, with its boxes and their channels' names."""
        columns = [[(CHANNELS[name], box) for box in self[name]] for name in self.channels]
        return [(name, list(boxes)) for name, *boxes in zip(KINDS.values(), *columns, strict=True)]

    def clean_webhook_url(self) -> str:
        """An address that webhooks may go to."""
        url: str = self.cleaned_data["webhook_url"]
        try:
            if url:
                webhooks.check_address(url)
        except webhooks.Refused as error:
            raise forms.ValidationError(str(error)) from error
        return url

    def clean(self) -> None:
        """Refuse webhooks that go nowhere."""
        super().clean()
        if self.cleaned_data.get("webhook") and not self.cleaned_data.get("webhook_url", "-"):
            self.add_error("webhook_url", _("Say where webhooks go, or choose none."))

    def save(self, held: Preferences) -> str:
        """Write what was chosen; returns the webhook's secret if there is a new one, to be shown once."""
        held.chosen = {**held.chosen, **{name: self.cleaned_data[name] for name in self.channels}}
        held.webhook_url = self.cleaned_data.get("webhook_url", held.webhook_url)
        held.language = get_language() or ""
        secret = held.renew_secret() if held.webhook_url and not held.webhook_nonce else ""
        held.save()
        return secret


def no_email(user: Any) -> str:
    """Why this user can choose no e-mail; empty if they can."""
    if not conf.current().site_url:
        return str(_("This site sends no e-mail, as it was not told its own address (the setting SITE_URL)."))
    return "" if address_of(user) else str(_("There is no e-mail address in your account."))


def _held(user: Any) -> Preferences:
    held = Preferences.objects.filter(pk=user.pk).first() or Preferences()
    held.user = user
    return held


@require_http_methods(["GET", "POST"])
@login_required
@never_cache
def edit(request: HttpRequest) -> HttpResponse:
    """What I am told, and how; a POST saves what was chosen."""
    held = _held(request.user)
    form = PreferencesForm(request.POST if request.method == "POST" else None, held=held)
    if request.method == "POST" and form.is_valid():
        secret = form.save(held)
        if not secret:
            messages.success(request, _("Saved."), fail_silently=True)
            return redirect("status:preferences")
        return _page(request, PreferencesForm(None, held=held), held, secret)
    return _page(request, form, held)


@require_http_methods(["GET", "POST"])
@login_required
@never_cache
def renew_secret(request: HttpRequest) -> HttpResponse:
    """Make a new secret for my webhook by POST and show it, this once; a GET does nothing."""
    held = _held(request.user)
    if request.method != "POST" or not held.webhook_url:
        return redirect("status:preferences")
    secret = held.renew_secret()
    held.save(update_fields=["webhook_nonce"])
    return _page(request, PreferencesForm(None, held=held), held, secret)


@require_http_methods(["GET", "POST"])
@login_required
def test(request: HttpRequest, channel: str) -> HttpResponse:
    """Send a test by one channel by POST; a GET does nothing."""
    if channel not in _ready(_held(request.user)):
        raise Http404("Nothing can be sent that way.")
    if request.method == "POST" and not send_test(request.user, channel):
        messages.warning(request, _("A test was sent just now. Wait a moment."), fail_silently=True)
    return redirect("status:preferences")


def _ready(held: Preferences) -> list[str]:
    """The channels by which something could be sent."""
    ready = []
    if not no_email(held.user):
        ready.append("email")
    if held.webhook_url:
        ready.append("webhook")
    return [name for name in ready if name in conf.current().tell_by]


def _page(request: HttpRequest, form: PreferencesForm, held: Preferences, secret: str = "") -> HttpResponse:
    ready = _ready(held)
    last = [(CHANNELS[name], name, Delivery.objects.last_of(request.user, name)) for name in ready]
    context = {
        "form": form,
        "channels": [CHANNELS[name] for name in form.channels],
        "no_email": no_email(held.user) if "email" in form.channels else "",
        "email": address_of(held.user) if "email" in form.channels else "",
        "held": held,
        "secret": secret,
        "last": last,
        "is_under_way": any(
            delivery is not None and delivery.is_under_way for _label, _name, delivery in last
        ),
        "most_tries": conf.current().delivery_tries,
    }
    return render(request, "status/preferences.html", context)
