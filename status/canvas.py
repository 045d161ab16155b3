"""Celery's canvases as rows: what a chain, a group, a chord is made of, before anything has run.

Celery runs a canvas by putting what comes next into the messages, and counts a chord in its result backend. Both
are lost with a lost worker, a doubled message counts twice, and a member that failed cannot be made good later.
So a canvas that is started as a job is taken apart here, and every member is a row with a message of its own;
`workflow` sends what comes next. Arguments, results, links and options mean what they mean in Celery
(https://docs.celeryq.dev/en/stable/userguide/canvas.html).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from celery import current_app
from celery.canvas import Signature, _chain, chord, chunks, group, maybe_signature
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from status.models import Job
from status.outbox import as_json
from status.states import Canvas

MEMBER_OPTION = "status"
HEADER_OPTION = "status_header"
MAPS = {"celery.map", "celery.starmap"}

# Of a canvas: told to its members in another way, or meaningless to them.
_OWN_OPTIONS = {"link", "link_error", "task_id", "root_id", "parent_id", "group_id", "chord"}
_OWN_OPTIONS |= {MEMBER_OPTION, HEADER_OPTION}


def member(
    signature: Signature, *, title: str = "", weight: float | None = None, may_fail: bool = False
) -> Signature:
    """Say what a signature is as a member of a workflow.

    Args:
        signature: a task's, or a canvas's.
        title: what its job is called; default: the task's name.
        weight: its share of the whole's work beside the other members, in any unit; default: 1 for a task, the
            sum of its members' for a canvas.
        may_fail: when it has failed, the workflow goes on all the same, and what follows gets None from it.

    Returns:
        A copy of the signature.

    Raises:
        ValueError: the weight is negative.

    Example:
        >>> start(chord([member(thumbnail.s(pk), title=name, may_fail=True) for pk, name in images], pack.s()))
    """
    if weight is not None and weight < 0:
        raise ValueError(f"The weight of a member must not be negative: {weight!r}")
    said: dict[str, Any] = {"title": title, "weight": weight, "may_fail": may_fail}
    said = {name: value for name, value in said.items() if value not in ("", None) and value is not False}
    copy = signature.clone()
    copy.options[MEMBER_OPTION] = said
    if isinstance(copy, group):
        # Celery makes it the header of a chord when a task follows, and keeps only its tasks.
        copy.kwargs["tasks"] = [part.clone() for part in copy.tasks]
        for part in copy.tasks:
            part.options[HEADER_OPTION] = said
    return copy


@dataclass(slots=True)
class Tree:
    """A canvas taken apart: a task's signature, or a canvas and its members."""

    signature: Signature | None = None
    canvas: Canvas | None = None
    members: "list[Tree]" = field(default_factory=list)
    said: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What it is called: as said, else from the task's name, or from the members'."""
        if self.said.get("title"):
            return str(self.said["title"])
        if self.signature is not None:
            return _title_of_signature(self.signature)
        titles = [tree.title for tree in self.members]
        if self.canvas is Canvas.CHAIN:
            return " → ".join(titles[:4]) + (" → …" if len(titles) > 4 else "")
        if len(set(titles)) == 1:
            return f"{len(titles)} × {titles[0]}"
        return ngettext("Group of %(count)d", "Group of %(count)d", len(titles)) % {"count": len(titles)}

    @property
    def weight(self) -> float:
        """Its share of the work."""
        said = self.said.get("weight")
        if said is not None:
            return float(said)
        return sum(tree.weight for tree in self.members) if self.canvas else 1.0

    def first_tasks(self) -> "Iterator[Tree]":
        """The tasks in it that run first."""
        if self.canvas is None:
            yield self
        for tree in self.members[:1] if self.canvas is Canvas.CHAIN else self.members:
            yield from tree.first_tasks()


def read(signature: Signature) -> Tree:
    """Take a canvas apart.

    Args:
        signature: what Celery's `s()`, `chain`, `group`, `chord`, `chunks` and `map` make, nested as you like.

    Returns:
        The tree; one without members for a single task. A chain inside a chain and a chord inside a chain are
        dissolved into it. `map` and `starmap` are one task, as they are one message.

    Raises:
        TypeError: there is something in it that is no signature.
        ValueError: there is no task in it.

    Example:
        >>> read(chain(fetch.s(url), group(a.s(), b.s()), merge.s())).title
        'Fetch → Group of 2 → Merge'
    """
    tree = _read(signature)
    if not any(tree.first_tasks()):
        raise ValueError("There is no task in this canvas, so nothing can be started.")
    return tree


def _read(signature: Any) -> Tree:
    if isinstance(signature, dict) and "task" in signature:
        signature = maybe_signature(signature, app=current_app)
    if not isinstance(signature, Signature):
        raise TypeError(f"start() takes a signature such as task.s(argument), or a canvas, not {signature!r}")
    said = dict(signature.options.get(MEMBER_OPTION) or {})
    if isinstance(signature, chunks):
        tree = _many(Canvas.GROUP, [_read(part) for part in signature.group().tasks], said)
    elif isinstance(signature, group):
        tree = _many(Canvas.GROUP, [_read(part) for part in signature.tasks], said)
    elif isinstance(signature, chord):
        if signature.body is None:
            raise TypeError("A chord needs a body: chord(header, body).")
        header = signature.tasks
        parts = list(header.tasks if isinstance(header, group) else header)
        named = dict(parts[0]["options"].get(HEADER_OPTION) or {}) if parts else {}
        group_ = _many(Canvas.GROUP, [_read(part) for part in parts], named)
        tree = _many(Canvas.CHAIN, _links([group_, _read(signature.body)]), said)
    elif isinstance(signature, _chain):
        tree = _many(Canvas.CHAIN, _links([_read(part) for part in signature.tasks]), said)
    else:
        return Tree(signature=_task(signature), said=said)
    _hand_down(tree, signature)
    is_one_link = tree.canvas is Canvas.CHAIN and len(tree.members) == 1 and not said
    return tree.members[0] if is_one_link else tree


def _many(canvas: Canvas, members: list[Tree], said: dict[str, Any]) -> Tree:
    return Tree(canvas=canvas, members=members, said=said)


def _links(parts: Iterable[Tree]) -> list[Tree]:
    """The links of a chain: chains in it are dissolved, and an empty group passes on its empty list at once."""
    links: list[Tree] = []
    empty = False
    for part in parts:
        if part.canvas is Canvas.GROUP and not part.members:
            empty = True
            continue
        if empty:
            for first in part.first_tasks():
                _fix_input(first)
            empty = False
        dissolves = part.canvas is Canvas.CHAIN and not part.said
        links += part.members if dissolves else [part]
    return links


def _fix_input(tree: Tree) -> None:
    """Give a task the result of an empty group, whatever comes before that."""
    if tree.signature is not None and not tree.signature.immutable:
        tree.signature = tree.signature.clone(args=([],))
        tree.signature.set_immutable(True)


def _task(signature: Signature) -> Signature:
    signature = signature.clone()
    for name in (MEMBER_OPTION, HEADER_OPTION):
        signature.options.pop(name, None)
    if str(signature.task) in MAPS:
        # What Celery does as well before it sends one: it may hold a generator.
        signature["kwargs"] = {**signature.kwargs, "it": list(signature.kwargs["it"])}
    elif str(signature.task).startswith("celery."):
        raise TypeError(f"start() cannot take {signature.task} apart; give it tasks, chains, groups, chords.")
    return signature


def _hand_down(tree: Tree, signature: Signature) -> None:
    """What a canvas was told holds for its members: callbacks as Celery has them, other options as defaults."""
    for first in tree.first_tasks() if isinstance(signature, chord) and signature.args else ():
        assert first.signature is not None
        first.signature = first.signature.clone(args=signature.args)
    tasks = list(_tasks(tree))
    for callback in _as_list(signature.options.get("link_error")):
        for task in tasks:
            task.link_error(callback)
    for callback in _as_list(signature.options.get("link")):
        last = tree.members[-1].signature if tree.canvas is Canvas.CHAIN and tree.members else None
        if last is None:
            raise TypeError("A group has no callback of its own; make it a chord: chord(group, callback).")
        last.link(callback)
    for name, value in signature.options.items():
        if name not in _OWN_OPTIONS:
            for task in tasks:
                task.options.setdefault(name, value)


def _tasks(tree: Tree) -> Iterator[Signature]:
    if tree.signature is not None:
        yield tree.signature
    for part in tree.members:
        yield from _tasks(part)


def _as_list(callbacks: Any) -> list[Any]:
    if not callbacks:
        return []
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]


def plan(job: Job, tree: Tree) -> list[Job]:
    """The rows of a canvas, from the whole's.

    Args:
        job: the whole's unsaved row, with its id, title, owner and `repeatable`; it becomes a task's or a canvas's.
        tree: what it runs.

    Returns:
        Its members' unsaved rows, parents first. Those that do not run first are held back.

    Raises:
        TypeError: an argument cannot be written as JSON, or a task does not take what it would be given.
    """
    rows: list[Job] = []
    _fill(job, tree)
    _grow(job, tree, rows)
    return rows


def _grow(job: Job, tree: Tree, rows: list[Job]) -> None:
    is_chain = tree.canvas is Canvas.CHAIN
    for position, part in enumerate(tree.members):
        row = Job(
            id=uuid4(),
            title=part.title[:255],
            owner=job.owner,
            repeatable=job.repeatable,
            root=job.root or job,
            parent=job,
            position=position,
            weight=part.weight,
            may_fail=bool(part.said.get("may_fail")),
            held=job.held or (is_chain and position > 0),
            passes=job.passes if not is_chain or position == len(tree.members) - 1 else True,
            created_at=job.created_at,
        )
        _fill(row, part)
        rows.append(row)
        _grow(row, part, rows)


def _fill(job: Job, tree: Tree) -> None:
    """The columns that say what is run."""
    if tree.canvas is not None:
        job.canvas = tree.canvas
        job.task = f"celery.{tree.canvas}"
        if not job.held:
            job.sent_at = job.refreshed_at = job.created_at
        return
    assert tree.signature is not None
    _check_arguments(tree.signature, takes=1 if job.held and not tree.signature.immutable else 0)
    job.task = str(tree.signature.task)
    job.signature = as_json(tree.signature)
    job.queue = str(tree.signature.options.get("queue") or "")
    job.repeatable = job.repeatable or bool(getattr(current_app.tasks.get(job.task), "acks_late", False))


def _check_arguments(signature: Signature, *, takes: int) -> None:
    """Refuse what the task would refuse, as `delay()` does; with the `takes` results that come from before it."""
    task = current_app.tasks.get(str(signature.task))
    header = getattr(task, "__header__", None) if getattr(task, "typing", False) else None
    if header is not None:
        header(*[None] * takes, *signature.args, **signature.kwargs)


def _title_of_signature(signature: Signature) -> str:
    if str(signature.task) in MAPS:
        return _("%s, one after the other") % title_of(str(signature.kwargs["task"]["task"]))
    return title_of(str(signature.task))


def title_of(task: str) -> str:
    """A title for a job that was given none.

    >>> title_of("orders.tasks.import_orders")
    'Import orders'
    """
    return task.rpartition(".")[2].replace("_", " ").capitalize()
