"""Finding jobs by their words: the rows that are searched are written here, and read."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models.signals import post_save

from status.models import Job, SearchText
from status.models.queries import job_ended
from status.models.search import words_of
from status.states import State

WITHOUT = "title, id, arguments and error"


def connect() -> None:
    """Keep the words of jobs as jobs come and end; called once when the app is ready."""
    post_save.connect(_note, sender=Job, dispatch_uid="status.searching.note")
    job_ended.connect(_note_end, sender=Job, dispatch_uid="status.searching.note_end")


def _note(instance: Job, created: bool, raw: bool = False, **kwargs: Any) -> None:
    if created and not raw and instance.parent_id is None:
        SearchText.of(instance).save(force_insert=True)


def _note_end(job_id: UUID, attempt: int, state: str, **kwargs: Any) -> None:
    """An error is found too, and one that an attempt before had no more."""
    if state != State.FAILED and attempt == 1:
        return
    job = Job.objects.filter(pk=job_id, parent=None).defer("traceback", "result").first()
    if job is not None:
        SearchText.objects.filter(job=job).update(words=words_of(job))


def matches(words: Sequence[str], marks: Sequence[str]) -> tuple[str, str, list[Any]]:
    """What finds the rows in which each of `words` begins a word and each of `marks` is one.

    Args:
        words: from `status.models.search.split`.
        marks: from `status.models.search.mark`.

    Returns:
        A table, its column of places, and parameters for the condition `{table} WHERE {condition}`, which is the
        first of them: see `source`.
    """
    if connection.vendor == "sqlite":
        terms = [f'"{mark}"' for mark in marks] + [f'"{word}"*' for word in words]
        where = "status_searchtext_words WHERE status_searchtext_words MATCH %s"
        return where, "rowid", [" AND ".join(terms)]
    if connection.vendor == "postgresql":
        terms = [f"'{mark}'" for mark in marks] + [f"'{word}':*" for word in words]
        where = "status_searchtext WHERE array_to_tsvector(string_to_array(words, ' ')) @@ %s::tsquery"
        return where, "id", [" & ".join(terms)]
    terms = [f"% {term}%" for term in [*marks, *words]]
    where = " AND ".join(["CONCAT(' ', words) LIKE %s"] * len(terms))
    return f"status_searchtext WHERE {where}", "id", terms
