"""`manage.py jobs`: list, start, watch, cancel and retry jobs.

Exit codes: 0 succeeded, or done as asked; 1 failed; 2 usage; 3 cancelled; 130 left by Ctrl-C, the job goes on.
"""

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec
from celery import current_app
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError
from django.db.models import Q

from status import channel, jobs, outbox, registry
from status.asked import Unusable, start_as_asked
from status.audit import at_command_line
from status.following import Following, Gone
from status.models import Job
from status.programs.wire import describe
from status.states import State
from status.terminal import headline, printable, screen_for

SUCCEEDED, FAILED, USAGE, CANCELLED, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 3, 130, 141
OUTCOMES: dict[str, int] = {
    State.SUCCEEDED: SUCCEEDED,
    State.FAILED: FAILED,
    State.CANCELLED: CANCELLED,
}
SEND_SECONDS = 2.0

EPILOG = """\
exit codes:
  0    the job succeeded, or what was asked for was done
  1    the job failed, or what was asked for cannot be done
  2    wrong usage: an unknown job, startable or user, or parameters that its form refuses
  3    the job was cancelled
  130  Ctrl-C while watching: the job goes on
"""


class Command(BaseCommand):
    """Works with jobs from the command line."""

    help = "List, start, watch, cancel and retry jobs."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        """As Django does, with the exit codes told below the options."""
        kwargs |= {"epilog": EPILOG, "formatter_class": RawDescriptionHelpFormatter}
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """A subcommand for each verb."""
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

        listing = verbs.add_parser("list", help="list jobs, newest first")
        listing.add_argument("--state", action="append", choices=[str(state) for state in State])
        listing.add_argument("--task", help="the task's name, or the name under which it can be started")
        listing.add_argument("--owner", metavar="USER")
        listing.add_argument("--limit", type=_count, default=25, metavar="N", help="at most (%(default)s)")
        listing.add_argument("--json", action="store_true", help="one JSON object a line, as the API has it")

        starting = verbs.add_parser("start", help="start a job, and print its id")
        starting.add_argument("name", help="the name of what can be started, as in its page's address")
        starting.add_argument(
            "--param",
            action="append",
            default=[],
            type=_pair,
            metavar="K=V",
            help="a field of its form; for a file K=@PATH; may be given many times",
        )
        starting.add_argument("--owner", required=True, metavar="USER", help="who may watch and cancel it")
        starting.add_argument("--key", default="", help="while a job with this key lives no other is started")
        starting.add_argument("--watch", action="store_true", help="and watch it until it has ended")

        watching = verbs.add_parser(
            "watch", help="watch a job until it has ended; the exit code is its outcome"
        )
        cancelling = verbs.add_parser("cancel", help="cancel a job")
        retrying = verbs.add_parser("retry", help="run a failed or cancelled job again")
        retrying.add_argument("--watch", action="store_true", help="and watch it until it has ended")
        for verb in (watching, cancelling, retrying):
            verb.add_argument("id", type=UUID, help="the job's id")
        for verb in (starting, watching, retrying):
            verb.add_argument("--plain", action="store_true", help="plain lines, in a terminal as well")
            verb.add_argument(
                "--cancel-on-interrupt",
                action="store_true",
                help="Ctrl-C while watching cancels the job; a second one leaves it",
            )

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        """Do it, and end with the code that tells how it went."""
        verbs: dict[str, Callable[..., int]] = {
            "list": self.show_list,
            "start": self.start,
            "watch": self.watch,
            "cancel": self.cancel,
            "retry": self.retry,
        }
        try:
            code = verbs[verb](**options)
        except BrokenPipeError:
            # `jobs watch … | head`: nobody reads on. Python must not find that out again when it closes the pipe.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = PIPE_CLOSED
        finally:
            outbox.note_sent()
            channel.flush(SEND_SECONDS)
        if code:
            sys.exit(code)

    # -- verbs ---------------------------------------------------------------------------------------------

    def show_list(
        self,
        *,
        state: list[str] | None,
        task: str | None,
        owner: str | None,
        limit: int,
        json: bool,
        **_: Any,
    ) -> int:
        """Print the newest jobs, without the members of others."""
        rows = (
            Job.objects.filter(parent=None).select_related("owner").defer("signature", "traceback", "output")
        )
        if state:
            rows = rows.filter(state__in=state)
        if task:
            rows = rows.filter(Q(task=task) | Q(startable=task))
        if owner:
            rows = rows.filter(owner=_user(owner))
        for job in rows[:limit]:
            self.stdout.write(msgspec.json.encode(describe(job)).decode() if json else _row(job))
        return SUCCEEDED

    def start(
        self, *, name: str, param: list[tuple[str, str]], owner: str, key: str, watch: bool, **options: Any
    ) -> int:
        """Start a job through its form, print its id on stdout, and watch it if asked to."""
        # What workers find by autodiscovery is registered here as well.
        current_app.loader.import_default_modules()
        user, entry = _user(owner), registry.startables.get(name)
        if entry is None:
            known = ", ".join(sorted(registry.startables)) or "none"
            raise CommandError(
                f"Nothing can be started under the name {name!r}. Known: {known}.", returncode=USAGE
            )
        if not registry.may_start(user, entry):
            raise CommandError(
                f"{owner} may not start {name}: it takes {entry.permission}.", returncode=USAGE
            )
        try:
            job, is_new = start_as_asked(entry, param, user, key)
        except Unusable as error:
            raise CommandError(str(error), returncode=USAGE) from error
        if not is_new:
            self.stderr.write(f"A job with the key {key!r} is under way; no other was started.")
        self.stdout.write(str(job.pk))
        self.stdout.flush()
        outbox.note_sent()
        return self.watch(id=job.pk, **options) if watch else SUCCEEDED

    def watch(self, *, id: UUID, plain: bool, cancel_on_interrupt: bool, **_: Any) -> int:  # noqa: A002
        """Show the job until it has ended; returns the code of its outcome."""
        job = _job(id)
        while True:
            try:
                return self._watch(job, plain=plain)
            except Gone:
                raise CommandError(f"Job {job.pk} was deleted.", returncode=FAILED) from None
            except KeyboardInterrupt:
                if not cancel_on_interrupt:
                    self.stderr.write(
                        f"The job goes on. Watch it again: manage.py jobs watch {job.pk}\n"
                        f"Cancel it: manage.py jobs cancel {job.pk}"
                    )
                    return INTERRUPTED
                jobs.cancel(job, actor=at_command_line())
                self.stderr.write("The job is cancelled. Ctrl-C again leaves it.")
                cancel_on_interrupt = False

    def _watch(self, job: Job, *, plain: bool) -> int:
        state = ""
        with Following(job.pk) as following, screen_for(self.stdout, plain=plain) as screen:  # type: ignore[arg-type]
            for moment in following:
                screen.show(moment)
                state = moment.job.state
        return OUTCOMES[state]

    def cancel(self, *, id: UUID, **_: Any) -> int:  # noqa: A002
        """Cancel a job; 1 when it had ended otherwise."""
        job = jobs.cancel(_job(id), actor=at_command_line())
        self.stdout.write(headline(job))
        return SUCCEEDED if job.is_cancelling or job.state == State.CANCELLED else FAILED

    def retry(self, *, id: UUID, watch: bool, **options: Any) -> int:  # noqa: A002
        """Run a job again; 1 when it neither failed nor was cancelled."""
        before = _job(id)
        if before.state not in {State.FAILED, State.CANCELLED}:
            said = headline(before)
            raise CommandError(
                f"Only a failed or cancelled job can be retried. This one: {said}", returncode=FAILED
            )
        try:
            job = jobs.retry(before, actor=at_command_line())
        except IntegrityError as error:
            text = "Another job with the same key is under way. Retry when it has ended."
            raise CommandError(text, returncode=FAILED) from error
        self.stdout.write(headline(job))
        outbox.note_sent()
        return self.watch(id=id, **options) if watch else SUCCEEDED


def _count(text: str) -> int:
    with suppress(ValueError):
        if int(text) > 0:
            return int(text)
    raise ArgumentTypeError(f"{text!r} is no whole number above 0")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ArgumentTypeError(f"{text!r} is not of the form name=value")
    return name, value


def _user(name: str) -> Any:
    model = get_user_model()
    try:
        return model._default_manager.get_by_natural_key(name)
    except model.DoesNotExist:
        raise CommandError(f"There is no user {name!r}.", returncode=USAGE) from None


def _job(job_id: UUID) -> Job:
    job = Job.objects.find(job_id)
    if job is None:
        raise CommandError(f"There is no job {job_id}.", returncode=USAGE)
    return job


def _row(job: Job) -> str:
    """A job as a line of a table whose columns are separated by tabs."""
    percent = "" if job.percent is None else f"{job.percent}%"
    columns = [job.pk, f"{job.created_at:%Y-%m-%dT%H:%M:%SZ}", job.state, percent, job.owner or "", job.title]
    return "\t".join(printable(column).replace("\t", " ") for column in columns)
