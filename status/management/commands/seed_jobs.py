"""`manage.py seed_jobs`."""

import random
from argparse import ArgumentParser
from collections.abc import Sequence
from itertools import islice
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction
from django.db.models import AutoField, Model
from django.utils import timezone

from status.models import Delivery, Job, LogLine, Notification, SearchText
from status.seeding import DOMAIN, FIRST_ID, LAST_ID, NAMES, History

BATCH = 2_000
LOGGED = 0.03
TEXTS = (
    "Read %d rows.",
    "%d rows checked.",
    "Wrote batch %d.",
    "Row %d skipped: no customer.",
    "Done in %d s.",
)


class Command(BaseCommand):
    """Makes a believable history of jobs, or takes it away."""

    help = (
        "Make a history of N jobs, for looking at the pages and for measuring: rows only, nothing runs. "
        "Refuses a database that has jobs, unless told --yes. --remove takes it all away again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """How many, and how."""
        parser.add_argument("count", nargs="?", type=int, metavar="N", help="so many jobs")
        parser.add_argument(
            "--seed", type=int, default=1, help="another number makes another history (%(default)s)"
        )
        parser.add_argument("--days", type=int, default=28, help="how far it goes back (%(default)s)")
        parser.add_argument(
            "--owner", metavar="NAME", help="this user owns most of it; default: ten made for it"
        )
        parser.add_argument("--yes", action="store_true", help="also among jobs that are there")
        parser.add_argument("--remove", action="store_true", help="delete what this command has made")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make or remove, and say what."""
        if options["remove"]:
            self._say(self._remove(), options)
            return
        count, days = options["count"], options["days"]
        if count is None or count < 1 or days < 1:
            raise CommandError("Say how many jobs, from 1 on: seed_jobs 1000. --days is 1 or more as well.")
        if not options["yes"] and Job.objects.exists():
            raise CommandError(
                "This database has jobs already. --yes makes a history among them; "
                "seed_jobs --remove deletes what this command made before."
            )
        owners = self._owners(options["owner"])
        history = History(count, now=timezone.now(), days=days, owners=owners, seed=options["seed"])
        rows = lines = 0
        families = history.jobs()
        chance = random.Random(options["seed"])  # noqa: S311
        while batch := list(islice(families, BATCH)):
            jobs = [job for family in batch for job in family]
            lines += self._write(jobs, chance)
            rows += len(jobs)
            if options["verbosity"] > 1:
                self.stdout.write(f"{rows} rows")
        members = rows - count
        self._say(f"Made {count} jobs with {members} members and {lines} log lines.", options)

    def _say(self, text: str, options: dict[str, Any]) -> None:
        if options["verbosity"]:
            self.stdout.write(text)

    @transaction.atomic
    def _write(self, jobs: list[Job], chance: random.Random) -> int:
        logged = [
            line for job in jobs if job.worker and chance.random() < LOGGED for line in _lines(job, chance)
        ]
        _insert(jobs)
        LogLine.objects.bulk_create(logged)
        _insert([SearchText.of(job) for job in jobs if job.parent_id is None])
        return len(logged)

    def _owners(self, name: str | None) -> list[Any]:
        model = get_user_model()
        users = model._default_manager
        found = []
        if name:
            user = users.filter(**{model.USERNAME_FIELD: name}).first()
            if user is None:
                raise CommandError(f"There is no user {name}.")
            found.append(user)
        for first in NAMES:
            address = f"{first}@{DOMAIN}"
            key = address if model.get_email_field_name() == model.USERNAME_FIELD else first
            values = {model.get_email_field_name(): address}
            user = users.filter(**{model.USERNAME_FIELD: key}).first()
            if user is None:
                user = users.create(**{model.USERNAME_FIELD: key, **values})
                user.set_unusable_password()
                user.save()
            found.append(user)
        return found

    def _remove(self) -> str:
        mine = {"pk__gte": FIRST_ID, "pk__lte": LAST_ID}
        of_mine = {"job_id__gte": FIRST_ID, "job_id__lte": LAST_ID}
        with transaction.atomic():
            told = Notification.objects.filter(**of_mine)
            for rows in (
                Delivery.objects.filter(notification__in=told),
                LogLine.objects.filter(**of_mine),
                SearchText.objects.filter(**of_mine),
                told,
            ):
                rows._raw_delete(rows.db)
            jobs = Job.objects.filter(**mine)
            count = jobs.filter(parent=None).count()
            jobs._raw_delete(jobs.db)
            model = get_user_model()
            made = {f"{model.get_email_field_name()}__endswith": f"@{DOMAIN}", "status_jobs": None}
            users, _by_model = model._default_manager.filter(**made).delete()
        return f"Removed {count} jobs and {users} users."


def _insert(rows: Sequence[Model]) -> None:
    """As `bulk_create`, three times as fast: most columns of most rows have their default."""
    meta = type(rows[0])._meta
    fields = [field for field in meta.concrete_fields if not isinstance(field, AutoField)]
    defaults = [field.get_default() for field in fields]
    plain = [field.get_db_prep_save(value, connection) for field, value in zip(fields, defaults, strict=True)]
    columns = list(zip(fields, [field.attname for field in fields], defaults, plain, strict=True))
    values = [
        [
            written if (value := row.__dict__[name]) == default else field.get_db_prep_save(value, connection)
            for field, name, default, written in columns
        ]
        for row in rows
    ]
    names = ", ".join(connection.ops.quote_name(str(field.column)) for field in fields)
    holes = ", ".join(["%s"] * len(fields))
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {meta.db_table} ({names}) VALUES ({holes})", values)  # noqa: S608


def _lines(job: Job, chance: random.Random) -> list[LogLine]:
    count = chance.randint(3, 12)
    begun = job.started_at or job.created_at
    length = ((job.finished_at or timezone.now()) - begun) / count
    job.line_count = count
    return [
        LogLine(
            job=job,
            number=number + 1,
            attempt=job.attempt,
            at=begun + length * number,
            level=chance.choices([20, 30, 40], [20, 3, 1])[0],
            text=chance.choice(TEXTS) % chance.randint(1, 9_000),
        )
        for number in range(count)
    ]
