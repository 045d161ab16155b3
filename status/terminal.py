"""A job in a terminal: bars and a tree where there is one, plain lines in a pipe."""

import logging
import os
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from status.events import Line, Step
from status.following import Moment
from status.models import Job
from status.models.tree import Branch, members_of
from status.spelling import enumerated
from status.states import State
from status.wording import counted, duration, percent, phase, speed, time_left

MARKS = {
    State.QUEUED: ("·", "dim"),
    State.RUNNING: ("▶", "cyan"),
    State.WAITING: ("…", "yellow"),
    State.SUCCEEDED: ("✓", "green"),
    State.FAILED: ("✗", "red"),
    State.CANCELLED: ("−", "magenta"),
}
STEP_MARKS = {"pending": MARKS[State.QUEUED], "running": MARKS[State.RUNNING], "done": MARKS[State.SUCCEEDED]}
BAR_CELLS = 32
PERCENTS_A_LINE = 10
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def printable(text: Any) -> str:
    """`text` without what a terminal would obey: a task's words come from anywhere.

    >>> printable("red\\x1b[31m")
    'red�[31m'
    """
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text))


class Screen(Protocol):
    """Shows moments of a job."""

    def show(self, moment: Moment) -> None:
        """Show the job as it is now, and the lines that are new."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def screen_for(out: TextIO, *, plain: bool = False) -> Screen:
    """The live view, where `out` is a terminal that can show it and rich is installed; else plain lines.

    Example:
        >>> with screen_for(sys.stdout) as screen:
        ...     screen.show(moment)
    """
    if plain or not out.isatty() or os.environ.get("TERM", "dumb") in {"dumb", "unknown", ""}:
        return PlainScreen(out)
    try:
        import rich  # noqa: F401
    except ImportError:
        return PlainScreen(out)
    return LiveScreen(out)


class PlainScreen(AbstractContextManager["PlainScreen"]):
    """A line for each change of state or step, each ten percents and each log line; no control codes."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._said: tuple[Any, ...] | None = None

    def __exit__(self, *error: object) -> None:
        """Nothing is left to close."""

    def show(self, moment: Moment) -> None:
        """Write what is new since the last time."""
        job = moment.job
        if self._said is None:
            self._write(timezone.localtime(), printable(job.title))
        for line in moment.lines:
            self._write(timezone.localtime(line.at), f"| {line_text(line)}")
        percent = job.percent
        tens = None if percent is None else percent // PERCENTS_A_LINE
        essence = (job.tries, job.state, job.is_cancelling, phase(job), tens)
        if essence != self._said:
            self._said = essence
            self._write(timezone.localtime(), headline(job))

    def _write(self, at: Any, text: str) -> None:
        self._out.write(f"{at:%H:%M:%S} {text}\n")
        self._out.flush()


def line_text(line: Line) -> str:
    """A log line as text; its level is said from warnings on."""
    level = f"{logging.getLevelName(line.level)} " if line.level >= logging.WARNING else ""
    return level + printable(line.text)


def headline(job: Job) -> str:
    """What a job is doing or how it ended, in one line.

    >>> headline(job)
    'Running 40%: Step 2 of 3: Import, 400 / 1,000 rows, 180 rows/s, 4 s left'
    """
    said = _("Cancelling") if job.is_cancelling else job.get_state_display()
    if job.tries > 1:
        said += " " + _("(attempt %d)") % job.tries
    if job.is_live:
        if job.percent is not None:
            said += f" {percent(job.percent)}"
        count = counted(job.step) if job.state == State.RUNNING else ""
        parts = [phase(job), count, speed(job), time_left(job)]
    else:
        took = _("after %s") % duration(job.ran_for) if job.ran_for is not None else ""
        parts = [took, job.row.error.strip().rpartition("\n")[2], job.row.result_label]
    more = enumerated(part for part in parts if part and part != said)
    return printable(f"{said}: {more}" if more else said)


class LiveScreen:
    """Log lines that scroll, and below them what stays: the job, a bar for each step, the tree of its members."""

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=out, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="ellipsis")

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, moment: Moment) -> None:
        """Print the lines, and draw the rest anew."""
        from rich.text import Text

        for line in moment.lines:
            style = (
                "red" if line.level >= logging.ERROR else "yellow" if line.level >= logging.WARNING else ""
            )
            at = Text(f"{timezone.localtime(line.at):%H:%M:%S} ", style="dim")
            self._live.console.print(at + Text(line_text(line), style=style))
        self._live.update(draw(moment.job), refresh=True)


def draw(job: Job) -> Any:
    """A job as rich draws it."""
    from rich.console import Group
    from rich.text import Text

    mark, style = MARKS[State(job.state)]
    title = Text.assemble((f"{mark} ", style), (printable(job.title), "bold"), "  ", (str(job.pk), "dim"))
    parts: list[Any] = [title, Text(headline(job), style=style)]
    if job.step_list:
        parts.append(_steps(job.step_list))
    branch = members_of(job)
    if branch.tallies:
        parts.append(_tree(job, branch))
    return Group(*parts)


def _steps(steps: Iterable[Step]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    for step in steps:
        mark, style = STEP_MARKS.get(step.state, MARKS[State.QUEUED])
        name = printable(f"{step.name} › {step.detail}" if step.detail else step.name)
        seconds = Text(duration(step.seconds) if step.seconds is not None else "", style="dim")
        table.add_row(
            Text(mark, style=style), Text(name), _bar(step.fraction), Text(printable(counted(step))), seconds
        )
    return table


def _bar(fraction: float | None) -> Any:
    from rich.progress_bar import ProgressBar

    return ProgressBar(total=None if fraction is None else 1.0, completed=fraction or 0.0, width=BAR_CELLS)


def _tree(job: Job, branch: Branch) -> Any:
    from rich.text import Text
    from rich.tree import Tree

    tree = Tree(Text(phase(job)), guide_style="dim")
    _add(tree, branch)
    return tree


def _add(tree: Any, branch: Branch) -> None:
    from rich.table import Table
    from rich.text import Text

    for twig in branch.twigs:
        member = twig.job
        mark, style = MARKS[State(member.state)]
        row = Table.grid(padding=(0, 1))
        cells: list[Any] = [Text(mark, style=style), Text(printable(member.title))]
        if member.is_live and member.percent is not None:
            cells += [_bar(member.percent / 100), Text(percent(member.percent))]
        else:
            said = phase(member) if member.is_live else member.get_state_display()
            cells.append(Text(printable(said), style="dim"))
        row.add_row(*cells)
        below = tree.add(row)
        _add(below, twig.branch)
    if branch.twigs and branch.more:
        more = ngettext("and %(count)d more", "and %(count)d more", branch.more) % {"count": branch.more}
        tree.add(Text(more, style="dim"))
