"""`manage.py prune_jobs`."""

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from status import conf, files
from status.files import Deleted
from status.sources.prune import BATCH, Pruned, prune, prune_audit, prune_messages, would_prune


class Command(BaseCommand):
    """Deletes old jobs, as beat does every hour."""

    help = (
        "Delete ended jobs with their log lines, files and notifications, by age (--days) and by number (--keep), "
        "messages to people by age, and what the audit trail holds for longer than "
        'STATUS["KEEP_AUDIT_DAYS"]. Live jobs never go. Ends with 1 if something is wrong or a file could not be '
        "deleted."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """All optional."""
        parser.add_argument(
            "--days",
            metavar="N",
            help='keep what ended in the last N days; 0: for ever; default: STATUS["KEEP_DAYS"]',
        )
        parser.add_argument(
            "--keep",
            metavar="N",
            help='keep at most the newest N ended jobs; 0: no limit; default: STATUS["KEEP_JOBS"]',
        )
        parser.add_argument("--batch", metavar="N", default=BATCH, help="jobs per transaction (%(default)s)")
        parser.add_argument(
            "--orphans",
            action="store_true",
            help="also delete files older than a day whose job is not in this database; "
            "not for a storage that another installation uses too",
        )
        parser.add_argument("--dry-run", action="store_true", help="only say what would be deleted")

    def handle(self, *args: Any, **options: Any) -> None:
        """Delete, and say what went."""
        dry_run: bool = options["dry_run"]
        days = _number("--days", options["days"], float, conf.current().keep_days)
        keep = _number("--keep", options["keep"], int, conf.current().keep_jobs)
        batch = _number("--batch", options["batch"], int, None)
        pruned, orphaned = Pruned(), Deleted()
        try:
            # Nothing is deleted before the first step, but bad numbers are refused.
            pruning = prune(days=days, keep=keep, batch=batch)
            if dry_run:
                pruned = would_prune(days=days, keep=keep)
            else:
                for some in pruning:
                    pruned += some
                pruned += Pruned(messages=prune_messages(days))
                prune_audit(conf.current().keep_audit_days)
            if options["orphans"]:
                orphaned = files.delete_orphans(dry_run=dry_run)
        except ValueError as error:
            raise CommandError(str(error)) from error
        except NotImplementedError as error:
            raise CommandError(f"This storage cannot list its files: {error}") from error
        except DatabaseError as error:
            raise CommandError(f"After {pruned.jobs} jobs the database refused: {error}") from error
        self._tell(pruned, orphaned, dry_run)

    def _tell(self, pruned: Pruned, orphaned: Deleted, dry_run: bool) -> None:
        done = "Would delete" if dry_run else "Deleted"
        kept = pruned.files
        self.stdout.write(
            f"{done}: jobs {pruned.jobs}, log lines {pruned.lines}, files {kept.files} ({kept.bytes} bytes), "
            f"notifications {pruned.notifications}, messages {pruned.messages}"
        )
        if orphaned.files:
            self.stdout.write(f"{done}: files without a job {orphaned.files} ({orphaned.bytes} bytes)")
        if pruned.held:
            self.stdout.write(f"Kept, since rows of other apps refer to them: jobs {pruned.held}")
        failed = kept.failed + orphaned.failed
        if failed:
            raise CommandError(f"Could not be deleted, see the log: files {failed}")


def _number(option: str, given: Any, kind: Callable[[str], Any], default: Any) -> Any:
    if given is None:
        return default
    try:
        return kind(str(given))
    except ValueError as error:
        whole = "a whole number" if kind is int else "a number"
        raise CommandError(f"{option} takes {whole}, not {str(given)!r}.") from error
