"""What a job's task starts by itself, with `delay()` or a canvas of its own: it becomes the job's members.

The row is made as the message goes out, so a member is seen queued. If that fails, or the task rolls its
transaction back, the row is made when the member begins: the message says whose member it is.
"""

import logging
from typing import Any
from uuid import UUID

from django.db import DatabaseError, InterfaceError, transaction
from django.utils import timezone

from status import channel, conf, languages
from status.call_off import HEADER as CALL_OFF_HEADER
from status.canvas import title_of
from status.events import MembersEvent
from status.live import LiveJob
from status.models import Job
from status.outbox import ATTEMPT_HEADER, MEMBER_HEADER, Membership, json_of

logger = logging.getLogger(__name__)

NOT_MEMBERS = ("celery.", "status.")


def on_publish(live: LiveJob, headers: dict[str, Any], body: Any, routing_key: str) -> None:
    """The task of `live` sends a message: make what it asks for a member, unless it is a job in its own right."""
    name = str(headers.get("task") or "")
    is_job = ATTEMPT_HEADER in headers or CALL_OFF_HEADER in headers
    if is_job or not conf.current().track_children or name.startswith(NOT_MEMBERS):
        return
    try:
        signature = _signature(name, headers, body, routing_key)
    except (TypeError, ValueError, AttributeError) as error:
        logger.warning("Task %s is no member of job %s, as it is not sent as JSON: %r", name, live.id, error)
        return
    membership = Membership(parent=_parent(live), position=None, passes=False)
    headers.update(languages.carried())
    headers[ATTEMPT_HEADER] = 1
    headers[MEMBER_HEADER] = membership.to_wire()
    try:
        _make(UUID(headers["id"]), membership.parent, name, signature)
        channel.publish(MembersEvent(job=membership.parent))
    except (DatabaseError, InterfaceError) as error:
        logger.warning("Task %s[%s]: its row is made when it begins: %r", name, headers["id"], error)


def restore(live: LiveJob, task: Any) -> bool:
    """Make the row of a member that begins and has none; whether it is one that another task has sent."""
    if live.member is None or live.member.position is not None:
        return False
    request = task.request
    queue = str((request.delivery_info or {}).get("routing_key") or "")
    signature = json_of(dict(task.signature(request.args, request.kwargs, queue=queue)))
    _make(live.id, live.member.parent, task.name, signature)
    return True


def _parent(live: LiveJob) -> UUID:
    """Whose member it is: what the task's own code sends is its; what Celery sends after it stands beside it."""
    is_child = live.member is not None and live.member.position is None
    return live.member.parent if live.member is not None and is_child and not live.in_body else live.id


def _make(job_id: UUID, parent_id: UUID, name: str, signature: Any) -> None:
    parent = Job.objects.filter(pk=parent_id).values("owner_id", "root_id").first()
    if parent is None:
        return
    row = Job(
        id=job_id,
        task=name,
        title=title_of(name)[:255],
        owner_id=parent["owner_id"],
        root_id=parent["root_id"] or parent_id,
        parent_id=parent_id,
        signature=signature,
        queue=str(signature["options"].get("queue") or ""),
        sent_at=timezone.now(),
    )
    # Within a transaction of the task's, a failure must not spoil that.
    with transaction.atomic():
        Job.objects.bulk_create([row], ignore_conflicts=True)


def _signature(name: str, headers: dict[str, Any], body: Any, routing_key: str) -> Any:
    """The signature that would send this message again, with what Celery does after it."""
    args, kwargs, embed = body
    after = {
        "link": embed.get("callbacks"),
        "link_error": embed.get("errbacks"),
        "chain": embed.get("chain"),
        "chord": embed.get("chord"),
        "group_id": headers.get("group"),
        "queue": routing_key,
    }
    options = {key: value for key, value in after.items() if value}
    stored = json_of(
        {
            "task": name,
            "args": list(args),
            "kwargs": dict(kwargs),
            "options": options,
            "subtask_type": None,
            "immutable": False,
        }
    )
    return languages.keep(stored)
