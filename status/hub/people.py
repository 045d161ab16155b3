"""Who has pages open: their bell and their toasts, and the end of their sockets when they log out."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import DatabaseError, InterfaceError

from status.events import LogoutEvent
from status.hub.slots import Connection, Frame
from status.models import Notification
from status.notifications import Inbox, read_inboxes
from status.regions import View
from status.rendering import (
    BEAT_ID,
    BELL_ID,
    FRESH_SECONDS,
    TOAST_SLOTS,
    beat,
    last_beat,
    look_of,
    render_toast,
    swap_bell,
    swap_toast,
)

logger = logging.getLogger(__name__)

NEVER = datetime.min.replace(tzinfo=UTC)

GREETED_SECONDS = 8.0
"""A page that opens shows the toasts which the page before it has only just shown."""


@dataclass(eq=False, slots=True)
class Page:
    """One open page of a user, and what it has been told."""

    view: View
    greeted: bool = False
    count: int | None = None
    polled_until: datetime = NEVER
    """What is older it was told of by what it polled, while it had no socket."""
    told: frozenset[int] = frozenset()
    """Notifications it needs no toast of any more."""
    slots: tuple[int | None, ...] = (None,) * TOAST_SLOTS
    """The notification in each place for a toast."""
    turn: int = 0

    def fill(self, slot: int, held: int | None) -> None:
        """Note which notification is in a place."""
        self.slots = (*self.slots[:slot], held, *self.slots[slot + 1 :])


class People:
    """The pages that are open, by user."""

    def __init__(
        self,
        join_user: Callable[[str], Awaitable[None]],
        leave_user: Callable[[str], Awaitable[None]],
        in_thread: Callable[..., Awaitable[Any]],
    ) -> None:
        self._join_user, self._leave_user = join_user, leave_user
        self._in_thread = in_thread
        self._pages: dict[str, dict[Connection, Page]] = {}
        self._stale: set[str] = set()
        self._kick = asyncio.Event()

    async def join(self, connection: Connection, view: View, polled_until: datetime | None) -> None:
        """Someone has opened a page; until `polled_until` it was told of notifications by what it polled."""
        self._pages.setdefault(connection.user, {})[connection] = Page(
            view=view, polled_until=polled_until or NEVER
        )
        await self._join_user(connection.user)

    async def leave(self, connection: Connection) -> None:
        """A page was closed."""
        pages = self._pages.get(connection.user, {})
        if pages.pop(connection, None) is None:
            return
        if not pages:
            del self._pages[connection.user]
        await self._leave_user(connection.user)

    def stays(self, connection: Connection) -> bool:
        """Whether its page has always something to wait for: notifications, or what its forms start."""
        page = self._pages.get(connection.user, {}).get(connection)
        return page is not None and page.view.stays

    async def greetings(self, connections: Iterable[Connection]) -> dict[Connection, dict[str, str]]:
        """The bells as they are now, for the first frames of pages; nothing for those that have none."""
        pages = {connection: self._pages[connection.user][connection] for connection in connections}
        asked: dict[str, list[Page]] = {}
        for connection, page in pages.items():
            if page.view.bell:
                # What changes from now on is painted after this, and sent after the first frame.
                page.greeted = True
                asked.setdefault(connection.user, []).append(page)
        found = await self._in_thread(_paint, asked, GREETED_SECONDS) if asked else {}
        return {connection: found.get(page, {}) for connection, page in pages.items()}

    def mark(self, users: Iterable[str]) -> None:
        """The notifications of these users have changed, or may have."""
        self._stale.update(users)
        self._kick.set()

    def mark_all(self) -> None:
        """Look again at everybody's: a message may have been lost."""
        self.mark(self._pages)

    async def flush(self) -> None:
        """Wait until something has changed, and tell the pages."""
        await self._kick.wait()
        self._kick.clear()
        users, self._stale = self._stale, set()
        asked = {user: self._asking(user) for user in users if self._asking(user)}
        if not asked:
            return
        try:
            found = await self._in_thread(_paint, asked, FRESH_SECONDS)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Notifications not read, next try with the next beat: %r", error)
            return
        for user in asked:
            for connection, page in self._pages.get(user, {}).items():
                if connection.ready and found.get(page):
                    connection.put(Frame(parts=found[page]))

    def _asking(self, user: str) -> list[Page]:
        # One that is not greeted yet reads them itself, and is told of what comes after that.
        return [page for page in self._pages.get(user, {}).values() if page.view.bell and page.greeted]

    async def log_out(self, event: LogoutEvent) -> None:
        """Close the sockets of a session that has ended."""
        for connection, page in list(self._pages.get(event.user, {}).items()):
            if connection.session == event.session:
                with look_of(page.view):
                    last = last_beat("refused")
                await connection.close(4401, last)


def _paint(asked: dict[str, list[Page]], fresh_seconds: float) -> dict[Page, dict[str, str]]:
    """Read the inboxes of these users; returns for each page what is different now."""
    inboxes = read_inboxes(asked, fresh_seconds)
    found = {}
    for user, pages in asked.items():
        for page in pages:
            with look_of(page.view):
                found[page] = _changes(page, inboxes[user])
    return found


def _changes(page: Page, inbox: Inbox) -> dict[str, str]:
    parts: dict[str, str] = {}
    if page.count != inbox.count:
        page.count = inbox.count
        parts[BELL_ID] = swap_bell(inbox.count)
    unread = frozenset(row.pk for row in inbox.fresh)
    for slot, held in enumerate(page.slots):
        if held is not None and held not in unread:
            page.fill(slot, None)
            parts[f"toast-{slot}"] = swap_toast(slot, "")
    fresh = [row for row in inbox.fresh if row.pk not in page.told and row.created_at > page.polled_until]
    jobs = page.view.jobs if fresh else frozenset()
    page.told = unread
    # Of many at once the newest; the bell counts them all.
    for row in [row for row in fresh if row.job_id not in jobs][-TOAST_SLOTS:]:
        slot = _take_slot(page, row)
        parts[f"toast-{slot}"] = swap_toast(slot, render_toast(row))
        # Should the socket die now, the page knows that it has been told.
        parts[BEAT_ID] = beat()
    return parts


def _take_slot(page: Page, row: Notification) -> int:
    """An empty place, or in turn the one whose toast is the oldest."""
    slot = page.slots.index(None) if None in page.slots else page.turn
    page.fill(slot, row.pk)
    page.turn = (slot + 1) % TOAST_SLOTS
    return slot
