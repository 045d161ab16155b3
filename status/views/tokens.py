"""A person's tokens: made, shown once, revoked."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from status import access, channel
from status.audit import Target, Verb, on_page, record
from status.events import LogoutEvent
from status.models import Token
from status.pages import render

MOST_TOKENS = 50
NO_END = "none"
LIFETIMES = [
    ("30", _("30 days")),
    ("90", _("90 days")),
    ("365", _("A year")),
    (NO_END, _("No end: until it is revoked")),
]


def _tokens(user: Any) -> QuerySet[Token]:
    return Token.objects.filter(user=user)


class TokenForm(forms.ModelForm):  # type: ignore[type-arg]  # Not generic at run time.
    """What a token is for, how far it goes, and how long."""

    days = forms.TypedChoiceField(
        label=_("Good for"),
        choices=LIFETIMES,
        coerce=lambda value: None if value == NO_END else int(value),
        initial="90",
    )

    class Meta:
        model = Token
        fields = ["name", "scope"]
        labels = {"name": _("Name"), "scope": _("Scope")}
        help_texts = {"name": _("What it is for, so that you know it when you want to revoke it.")}

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._user = user

    def clean(self) -> None:
        """Refuse one too many."""
        super().clean()
        if _tokens(self._user).filter(revoked_at=None).count() >= MOST_TOKENS:
            raise forms.ValidationError(
                ngettext(
                    "You have %(count)d token. Revoke it first.",
                    "You have %(count)d tokens. Revoke one first.",
                    MOST_TOKENS,
                ),
                params={"count": MOST_TOKENS},
            )


@require_http_methods(["GET", "POST"])
@login_required
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    """My tokens; a POST makes one and shows its secret, this once."""
    made = secret = None
    form = TokenForm(request.POST if request.method == "POST" else None, user=request.user)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            made, secret = Token.make(request.user, **form.cleaned_data)
            record(on_page(request.user), Verb.MAKE, _target(made), scope=made.scope)
        form = TokenForm(user=request.user)
    tokens = _tokens(request.user).filter(revoked_at=None)
    context = {"tokens": tokens, "form": form, "made": made, "secret": secret}
    return render(request, "status/tokens.html", context)


@require_http_methods(["GET", "POST"])
@login_required
def revoke(request: HttpRequest, token_id: UUID) -> HttpResponse:
    """Have a token refused from now on, and close its sockets; a GET does nothing."""
    token = _tokens(request.user).filter(pk=token_id).first()
    if token is None:
        raise Http404("No such token.")
    if request.method == "POST" and _revoke(request.user, token):
        channel.publish(LogoutEvent(user=access.user_key(request.user), session=token.session))
    return redirect("status:tokens")


def _revoke(user: Any, token: Token) -> bool:
    with transaction.atomic():
        revoked = token.revoke()
        if revoked:
            record(on_page(user), Verb.REVOKE, _target(token))
    return revoked


def _target(token: Token) -> Target:
    return Target("token", str(token.pk), token.name)
