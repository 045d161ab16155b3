"""A notification as an e-mail."""

import smtplib
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.signing import BadSignature, Signer
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _

from status import conf
from status.deliveries import NotDelivered
from status.links import absolute
from status.models import Delivery, Notification

TEMPLATES = "status/email/notification"
_signer = Signer(salt="status.unsubscribe")


def address_of(user: Any) -> str:
    """The user's e-mail address; empty if there is none."""
    return str(getattr(user, user.get_email_field_name(), "") or "")


def way_out(user: Any) -> str:
    """The path at which whoever has this user's e-mails ends them, without a login.

    Example:
        >>> way_out(user)
        '/jobs/notifications/no-mail/7:RnV0…/'
    """
    return reverse("status:no-mail", args=[_signer.sign(user.pk)])


def who_leaves(key: str) -> Any:
    """The user whom a key of `way_out` was made for; None: it is not one of ours, or the account is gone."""
    try:
        pk = _signer.unsign(key)
    except BadSignature:
        return None
    return get_user_model().objects.filter(pk=pk).first()


def send(delivery: Delivery) -> None:
    """Deliver by e-mail; raises `NotDelivered`.

    At most once: it is tried again only after the mail server could not be reached, or has said no. When the
    connection breaks after the letter was handed over, nobody knows, and it is given up rather than sent twice.
    """
    letter = compose(delivery)
    seconds = getattr(settings, "EMAIL_TIMEOUT", None) or conf.current().delivery_timeout_seconds
    connection = get_connection(timeout=seconds)
    try:
        connection.open()
    except (smtplib.SMTPException, OSError) as error:
        raise NotDelivered(_("The mail server could not be reached: %s") % error, again=True) from error
    try:
        connection.send_messages([letter])
    except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as error:
        code, text = _answer(error)
        raise NotDelivered(
            _("The mail server answered %(code)s: %(text)s") % {"code": code, "text": text},
            again=400 <= code < 500,
        ) from error
    except (smtplib.SMTPException, OSError) as error:
        text = _("The connection to the mail server broke (%s); it is not known whether the e-mail went out.")
        raise NotDelivered(text % (str(error) or type(error).__name__), again=False) from error
    finally:
        connection.close()


def _answer(error: smtplib.SMTPResponseException | smtplib.SMTPRecipientsRefused) -> tuple[int, str]:
    """What the server said; of several recipients there is one."""
    text: bytes | str
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, text = next(iter(error.recipients.values()))
    else:
        code, text = error.smtp_code, error.smtp_error
    return code, text.decode("utf-8", "replace") if isinstance(text, bytes) else text


def compose(delivery: Delivery) -> EmailMultiAlternatives:
    """The e-mail, in text and HTML, in the language in force; raises `NotDelivered`."""
    user, notification = delivery.user, delivery.notification
    to = address_of(user)
    if not user.is_active or not to:
        raise NotDelivered(_("There is no e-mail address, or the account is closed."), again=False)
    if not conf.current().site_url:
        raise NotDelivered(
            _("This site does not know its own address, so no e-mail can be sent."), again=False
        )
    preferences, no_mail = absolute(reverse("status:preferences")), absolute(way_out(user))
    site = urlsplit(conf.current().site_url).hostname or ""
    context = {
        "notification": notification,
        "link": absolute(notification.get_absolute_url()) if notification.target else "",
        "preferences": preferences,
        "no_mail": no_mail,
        "site": site,
    }
    letter = EmailMultiAlternatives(
        subject=_subject(notification),
        body=render_to_string(f"{TEMPLATES}.txt", context),
        to=[to],
        headers={
            "Message-ID": f"<{delivery.pk}@{site}>",
            # RFC 2369 and RFC 8058: the reader's mail program has a button for it.
            "List-Unsubscribe": f"<{no_mail}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            # RFC 3834: so that nobody's absence is told to this site.
            "Auto-Submitted": "auto-generated",
        },
    )
    letter.attach_alternative(render_to_string(f"{TEMPLATES}.html", context), "text/html")
    return letter


def _subject(notification: Notification) -> str:
    # A header is one line, and a title may be anything.
    title = " ".join(notification.title.split())
    if notification.kind == Notification.Kind.MESSAGE:
        return title
    return _("%(title)s: %(kind)s") % {"title": title, "kind": notification.get_kind_display()}
