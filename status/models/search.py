"""What can be found of a job by its words: a row for each job of the lists, and an index over the words."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from django.db import models

from status.conf import is_secret
from status.models.job import Job

LONGEST_WORD = 40
MOST_WORDS = 200
LONGEST_ERROR = 2_000

_WORD = re.compile(r"[^\W_]+")
_ID = re.compile(r"[0-9a-f]{6,32}")


class SearchText(models.Model):
    """The words of one job, as the index has them: SQLite's FTS5, PostgreSQL's GIN.

    The migration makes the index, with triggers in SQLite. Primary keys grow as jobs come, so that the newest
    of many hits are found without a look at the others.
    """

    job = models.OneToOneField(Job, models.CASCADE, related_name="search_text")
    words = models.TextField()

    def __str__(self) -> str:
        return self.words[:80]

    @classmethod
    def of(cls, job: Any) -> "SearchText":
        """The unsaved row of `job`."""
        return cls(job_id=job.pk, words=words_of(job))


def split(text: str) -> list[str]:
    """The words of `text` in lower case, without accents and punctuation, each once.

    >>> split("Möbel_2.csv, möbel")
    ['mobel', '2', 'csv']
    """
    plain = text.casefold()
    if not plain.isascii():
        plain = unicodedata.normalize("NFKD", plain)
        plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return list(dict.fromkeys(word[:LONGEST_WORD] for word in _WORD.findall(plain)))


def words_of(job: Any) -> str:
    """What a job is found by: its title, arguments and error; and marks of what its lists are filtered by.

    Values whose name says that they are secret are left out.
    """
    arguments = job.signature if isinstance(job.signature, dict) else {}
    given = [arguments.get("args"), arguments.get("kwargs"), job.params]
    texts = [job.title, *_texts(given), job.error[:LONGEST_ERROR]]
    marks = [
        mark("owner", job.owner_id),
        mark("task", job.task),
        mark("schedule", job.schedule),
        mark("kind", "workflow" if job.canvas else "single"),
    ]
    return " ".join([*marks, *split(" ".join(texts))[:MOST_WORDS]])


def ids_of(text: str) -> tuple[UUID, UUID] | None:
    """The first and the last id that begins with `text`; None if that is no beginning of an id.

    >>> ids_of("5e3f01aa-77")
    (UUID('5e3f01aa-7700-0000-0000-000000000000'), UUID('5e3f01aa-77ff-ffff-ffff-ffffffffffff'))
    """
    begins = text.strip().replace("-", "").lower()
    if not _ID.fullmatch(begins):
        return None
    return UUID(begins.ljust(32, "0")), UUID(begins.ljust(32, "f"))


def mark(column: str, value: Any) -> str:
    """A word that no search has, since `split` makes none like it, for a value by which a search is narrowed.

    >>> mark("owner", 7)
    '§ab13e3f15725'
    """
    return f"§{hashlib.blake2s(f'{column}={value}'.encode(), digest_size=6).hexdigest()}"


def _texts(given: Any) -> Iterator[str]:
    if isinstance(given, dict):
        for name, value in given.items():
            if not is_secret(str(name)):
                yield from _texts(value)
    elif isinstance(given, list | tuple):
        for value in given:
            yield from _texts(value)
    elif given is not None:
        yield given if isinstance(given, str) else json.dumps(given, default=str)


def fill(jobs: Iterable[Any], model: Any = SearchText) -> None:
    """Make the rows of jobs that have none, in their order.

    Args:
        jobs: rows of jobs, the oldest first.
        model: that of a migration.
    """
    rows = [model(job_id=job.pk, words=words_of(job)) for job in jobs]
    model.objects.bulk_create(rows, batch_size=1000, ignore_conflicts=True)
