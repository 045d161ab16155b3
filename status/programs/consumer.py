"""The socket of programs."""

import asyncio
import contextlib
import logging
from datetime import datetime
from typing import Any

import msgspec
from channels.generic.websocket import AsyncWebsocketConsumer
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from status import access, conf
from status.consumers import DENIED, GOING_AWAY, NOT_LOGGED_IN, SERVER_SEND, session_hash
from status.hub import Connection, get_hub
from status.hub.slots import NOWHERE, SEND_SECONDS, Place
from status.inbound import Allowance, NotText, TooFast, TooLarge, at_once, in_thread
from status.models import Job
from status.programs import acts, callers, messages
from status.programs.callers import Caller
from status.programs.messages import (
    Accepted,
    Cancel,
    Error,
    Hello,
    Inbound,
    Jobs,
    Limits,
    List,
    Outbound,
    Ping,
    Pong,
    Ref,
    Retry,
    Start,
    Unwatch,
    Unwatched,
    Watch,
    Watching,
)
from status.programs.refusals import Refused
from status.programs.watches import Watches
from status.programs.wire import describe, read_place
from status.visitors import language_of

logger = logging.getLogger(__name__)


class JobsConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types.
    """A program's socket: it starts, watches, cancels and retries jobs by JSON messages, see `messages`.

    Refusals are told after `accept()`: an `error`, then the close code 4401 or 4403.
    """

    channel_layer_alias = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Handle what comes; all that is said is in the language that the handshake asks for."""
        with translation.override(language_of(scope)):
            await super().__call__(scope, receive, send)

    async def connect(self) -> None:
        """Accept, find out who it is, say hello."""
        self._caller: Caller | None = None
        self._connection: Connection | None = None
        self._send_message = self.scope.get(SERVER_SEND, self.base_send)
        self._watches = Watches(self._tell)
        self._expiry: asyncio.Task[None] | None = None
        await self.accept()
        try:
            caller = await self._identify()
            await self._admit(caller)
        except Refused as refused:
            await self._refuse(refused, None)
            await self.close(NOT_LOGGED_IN if refused.code == "unauthenticated" else DENIED)
        except Exception:
            logger.exception("A program could not be admitted")
            await self.close(GOING_AWAY)

    async def disconnect(self, code: int) -> None:
        """Watch nothing more."""
        self._watches.drop_all()
        if self._expiry is not None:
            self._expiry.cancel()
        if self._connection is not None:
            await get_hub().dismiss(self._connection)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Do what a message asks for, and answer."""
        if self._caller is None:
            return
        ref: Ref = None
        try:
            text = self._taken(text_data)
            try:
                message = messages.parse(text)
            except Refused:
                ref = messages.ref_of(text)
                raise
            ref = message.ref
            await self._do(self._caller, message)
        except Refused as refused:
            await self._refuse(refused, ref)
        except Exception:
            logger.exception("A message of a program was not done")
            detail = _(
                "It was not done, or not to the end, by a fault of the server. Try again with the same key."
            )
            await self._tell(Error(ref=ref, code="failed", detail=detail, errors=[]))

    # -- who it is -----------------------------------------------------------------------------------------

    async def _identify(self) -> Caller:
        authorization = callers.header_of(self.scope)
        if callers.has_token(authorization):
            return await in_thread(callers.by_token, authorization)
        return callers.by_session(self.scope["user"])

    async def _admit(self, caller: Caller) -> None:
        """From now on it may ask; it is closed when its session or token ends."""
        session = self.scope.get("session")
        name = caller.token.session if caller.token else session_hash(session and session.session_key)
        connection = Connection(
            send=self._send_text, close=self.close, user=access.user_key(caller.user), session=name
        )
        await get_hub().admit(connection)
        self._connection = connection
        # Once more: a token that was revoked before the hub listened is not told of again.
        caller = await self._identify()
        settings = conf.current()
        self._allowance = Allowance()
        if caller.token is not None and caller.token.expires_at is not None:
            self._expiry = asyncio.get_running_loop().create_task(self._close_at(caller.token.expires_at))
        self._caller = caller
        await self._tell(
            Hello(
                version=messages.VERSION,
                user=access.user_key(caller.user),
                scope=caller.scope,
                limits=Limits(
                    message_bytes=settings.socket_message_bytes,
                    messages_per_second=settings.socket_messages_per_second,
                    messages_at_once=at_once(),
                    watches=settings.socket_watches,
                ),
            )
        )

    async def _close_at(self, moment: datetime) -> None:
        await asyncio.sleep((moment - timezone.now()).total_seconds())
        self._caller = None
        await self._refuse(callers.expired(moment), None)
        await self.close(NOT_LOGGED_IN)

    # -- what it may send ----------------------------------------------------------------------------------

    def _taken(self, sent: str | None) -> str:
        settings = conf.current()
        try:
            return self._allowance.take(sent)
        except TooFast as beyond:
            text = _("Send %g messages a second at most. This one was dropped.")
            raise Refused("too-fast", text % settings.socket_messages_per_second) from beyond
        except TooLarge as beyond:
            text = _("A message has %d bytes at most. This one was dropped.")
            raise Refused("too-large", text % settings.socket_message_bytes) from beyond
        except NotText as beyond:
            raise Refused.because_of("", _("Send JSON as text messages, not binary ones.")) from beyond

    async def _do(self, caller: Caller, message: Inbound) -> None:
        ref = message.ref
        match message:
            case Ping():
                await self._tell(Pong(ref=ref))
            case Start():
                self._watches.must_have_room()
                job = await in_thread(acts.start, caller, message.job, message.params, message.key)
                await self._accept_job(job, ref)
                self._watches.add(job.pk)
            case Watch():
                self._watches.must_have_room(message.id)
                log_after = _log_after(message)
                await in_thread(acts.find, caller, message.id)
                await self._tell(Watching(ref=ref, id=message.id))
                self._watches.add(message.id, message.since, log_after)
            case Unwatch():
                self._watches.drop(message.id)
                await self._tell(Unwatched(ref=ref, id=message.id))
            case Cancel():
                await self._accept_job(await in_thread(acts.cancel, caller, message.id), ref)
            case Retry():
                self._watches.must_have_room(message.id)
                job = await in_thread(acts.retry, caller, message.id)
                await self._accept_job(job, ref)
                self._watches.add(job.pk)
            case List():
                page = await in_thread(acts.listed, caller, message.state, message.after, message.limit)
                await self._tell(Jobs(ref=ref, jobs=page.jobs, next=page.next))

    # -- what it is told -----------------------------------------------------------------------------------

    async def _accept_job(self, job: Job, ref: Ref) -> None:
        await self._tell(Accepted(ref=ref, job=describe(job)))

    async def _refuse(self, refused: Refused, ref: Ref) -> None:
        await self._tell(Error(ref=ref, code=refused.code, detail=refused.detail, errors=refused.errors))

    async def _tell(self, message: Outbound) -> None:
        await self._send_text(msgspec.json.encode(message).decode())

    async def _send_text(self, text: str) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send_message({"type": "websocket.send", "text": text})
        except TimeoutError:
            logger.info("A program that takes nothing is closed")
            with contextlib.suppress(Exception):
                await self.close(GOING_AWAY)
        except Exception as error:
            # Its end is told to `disconnect`.
            logger.debug("A program went away while it was written to: %r", error)


def _log_after(message: Watch) -> Place | None:
    """Where the log that a watch tells begins; None: it tells none."""
    if not message.log:
        if message.after:
            raise Refused.because_of("after", _("Only with `log`."))
        return None
    try:
        return read_place(message.after) if message.after else NOWHERE
    except ValueError as error:
        raise Refused.because_of("after", _("Not the `next` of a `log`.")) from error
