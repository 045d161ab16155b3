"""A notification as a signed POST, as the Standard Webhooks specification (version 1.0.0) has it.

The address is a user's own choice, so it may be a trap: a name that leads into this network, an answer that leads
there, or a server that never ends its answer. Hence the name is looked up here and the connection goes to an address
that was checked; redirects are not followed; and one deadline holds for connecting, TLS and the answer together.
"""

import base64
import contextlib
import hmac
import http.client
import json
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.utils.http import parse_http_date_safe
from django.utils.translation import gettext as _

from status import conf
from status.deliveries import NotDelivered
from status.links import absolute
from status.models import Delivery, Notification, Preferences

NAT64 = IPv6Network("64:ff9b::/96")
LONGEST_ADDRESS = 500
TYPES = {
    Notification.Kind.SUCCEEDED: "job.succeeded",
    Notification.Kind.FAILED: "job.failed",
    Notification.Kind.CANCELLED: "job.cancelled",
    Notification.Kind.WAITING: "job.waiting",
    Notification.Kind.MESSAGE: "message",
}


class Refused(Exception):
    """An address that webhooks do not go to; the text says why, for the user to read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said."""

    status: int
    after_seconds: float
    """How long it wants to be left alone; 0 if it does not say."""


def send(delivery: Delivery) -> None:
    """Deliver by webhook; raises `NotDelivered`.

    At least once: a worker that dies after the receiver took it, and before that was noted, sends it again, with the
    same `webhook-id`.
    """
    chosen: Preferences | None = getattr(delivery.user, "status_preferences", None)
    if chosen is None or not chosen.webhook_url or not chosen.webhook_nonce:
        raise NotDelivered(_("There is no address for webhooks any more."), again=False)
    text = body(delivery.notification)
    headers = sign(f"msg_{delivery.pk.hex}", int(time.time()), text, chosen.secrets())
    try:
        answer = post(chosen.webhook_url, text, headers, conf.current().delivery_timeout_seconds)
    except Refused as error:
        raise NotDelivered(str(error), again=False) from error
    except TimeoutError as error:
        raise NotDelivered(_("The receiver did not answer in time."), again=True) from error
    except (OSError, http.client.HTTPException) as error:
        what = _("The receiver could not be reached: %s.") % (str(error) or type(error).__name__)
        raise NotDelivered(what, again=True) from error
    if not 200 <= answer.status < 300:
        again = answer.status != HTTPStatus.GONE
        raise NotDelivered(_unwelcome(answer.status), again=again, after_seconds=answer.after_seconds)


def _unwelcome(status: int) -> str:
    try:
        phrase = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = str(status)
    if 300 <= status < 400:
        return _("The receiver answered %s. Redirects are not followed.") % phrase
    return _("The receiver answered %s.") % phrase


def body(notification: Notification) -> bytes:
    """What a receiver gets: the type, the moment, and the data, thin; more is asked for over the API."""
    data: dict[str, Any] = {
        "notification": notification.pk,
        "title": notification.title,
        "url": absolute(notification.target),
        "job": str(notification.job_id) if notification.job_id else None,
        "attempt": notification.attempt,
    }
    moment = notification.created_at.isoformat()
    return json.dumps(
        {"type": TYPES[Notification.Kind(notification.kind)], "timestamp": moment, "data": data}
    ).encode()


def sign(message_id: str, timestamp: int, text: bytes, secrets: list[bytes]) -> dict[str, str]:
    """The three headers of the Standard Webhooks specification, "Webhook headers".

    Args:
        message_id: the same for all tries.
        timestamp: of this try, in seconds since the epoch.
        text: the body, byte for byte.
        secrets: keys; a receiver who knows one of them is content.

    Example:
        >>> sign("msg_1", 1, b"{}", [b"key"])["webhook-signature"]
        'v1,jKGHVBDuJf5ZbCMVrrutoMHDN1OlFFCE9iogVIO9MLQ='
    """
    signed = b".".join([message_id.encode(), str(timestamp).encode(), text])
    found = [base64.b64encode(hmac.digest(secret, signed, "sha256")).decode() for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in found),
    }


def check_address(url: str) -> SplitResult:
    """The parts of an address that webhooks may go to, as far as can be told without looking it up.

    Raises:
        Refused: says why.

    Example:
        >>> check_address("https://hooks.example.org/jobs").hostname
        'hooks.example.org'
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
        host.encode("idna")
    except ValueError as error:
        raise Refused(_("This is no address of the web.")) from error
    schemes = {"https", "http"} if conf.current().webhook_http else {"https"}
    if parts.scheme not in schemes or not host or port == 0 or len(url) > LONGEST_ADDRESS:
        raise Refused(
            _("The address must begin with %s.") % " / ".join(f"{name}://" for name in sorted(schemes))
        )
    if parts.username is not None:
        raise Refused(_("The address must hold no user name and no password."))
    with contextlib.suppress(ValueError):
        _check_ip(ip_address(host))
    return parts


def _check_ip(ip: IPv4Address | IPv6Address) -> None:
    if not conf.current().webhook_private and not is_public(ip):
        raise Refused(_("%s is not a public address.") % ip)


def is_public(ip: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the public internet, also by what is wrapped in it.

    >>> is_public(ip_address("::ffff:127.0.0.1"))
    False
    """
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in NAT64:
            inner = IPv4Address(int(ip) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def wait_seconds(retry_after: str | None) -> float:
    """What `Retry-After` asks for, as RFC 9110, section 10.2.3 has it: seconds, or a date; 0 for anything else.

    Args:
        retry_after: the header; None: there is none.

    Example:
        >>> wait_seconds("120"), wait_seconds("soon"), wait_seconds("Sun, 06 Nov 1994 08:49:37 GMT")
        (120.0, 0.0, 0.0)
    """
    said = (retry_after or "").strip()
    if said.isascii() and said.isdigit():
        # What is longer than any pause is all the same, and an integer may have more digits than a float.
        return float(said[:9])
    moment = parse_http_date_safe(said)
    return 0.0 if moment is None else max(moment - time.time(), 0.0)


def post(url: str, text: bytes, headers: dict[str, str], timeout_seconds: float) -> Answer:
    """POST a body and return what is said, but for the answer's own body, which is not read.

    Raises:
        Refused: the address, or what its name leads to, is not one that webhooks go to.
        TimeoutError: there was no answer in time.
        OSError: no connection, or it broke.
        http.client.HTTPException: the answer is not HTTP.
    """
    parts = check_address(url)
    deadline = time.monotonic() + timeout_seconds
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    error: OSError | None = None
    for address in _look_up(parts):
        # A name may have an address that this machine has no way to.
        with contextlib.closing(_Connection(parts, address, deadline)) as connection:
            try:
                connection.connect()
            except ssl.SSLError:
                raise
            except OSError as failed:
                error = failed
                continue
            return _ask(connection, path, text, headers)
    raise error or OSError(_("no address"))


def _look_up(parts: SplitResult) -> list[str]:
    """The addresses of a name that webhooks may go to."""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    refused: Refused | None = None
    allowed = []
    for *_rest, (address, *_port) in found:
        try:
            _check_ip(ip_address(str(address).partition("%")[0]))
            allowed.append(str(address))
        except Refused as error:
            refused = error
    if not allowed and refused is not None:
        raise refused
    return allowed


def _ask(connection: "_Connection", path: str, text: bytes, headers: dict[str, str]) -> Answer:
    try:
        sent = {**headers, "Content-Type": "application/json", "User-Agent": "django-status"}
        connection.request("POST", path, body=text, headers=sent)
        response = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        if connection.is_cut:
            raise TimeoutError from error
        raise
    if connection.is_cut:
        # Headers that were cut pass for headers that ended.
        raise TimeoutError
    return Answer(response.status, wait_seconds(response.headers.get("Retry-After")))


class _Connection(http.client.HTTPConnection):
    """A connection to an address that was checked, under the name it was found by, cut at a deadline."""

    def __init__(self, parts: SplitResult, address: str, deadline: float) -> None:
        self._is_safe = parts.scheme == "https"
        host = (parts.hostname or "").encode("idna").decode()
        left = max(deadline - time.monotonic(), 0.001)
        super().__init__(host, parts.port or (443 if self._is_safe else 80), timeout=left)
        # So that the Host header leaves it out where it goes without saying.
        self.default_port = 443 if self._is_safe else 80
        self._address = address
        self.is_cut = False
        # A timeout of the socket alone would let a receiver drip its answer for ever.
        self._timer = threading.Timer(left, self._cut)
        self._timer.daemon = True

    def connect(self) -> None:
        """Connect, with TLS if the address says so."""
        self._timer.start()
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        try:
            if self._is_safe:
                context = ssl.create_default_context()
                self.sock = context.wrap_socket(
                    self.sock, server_hostname=self.host, do_handshake_on_connect=False
                )
                self.sock.do_handshake()
        except OSError as error:
            if self.is_cut:
                raise TimeoutError from error
            raise
        if self.is_cut:
            raise TimeoutError

    def _cut(self) -> None:
        self.is_cut = True
        sock = self.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                # Of the plain socket: what wraps it may be busy in another thread.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connection and its deadline."""
        self._timer.cancel()
        super().close()
