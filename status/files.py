"""The stored content of attachments: deleting it, and finding what no job has any more."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.core.files.storage import FileSystemStorage, Storage
from django.utils import timezone

from status.models import Attachment, Job
from status.models.parts import FOLDER

logger = logging.getLogger(__name__)

ORPHANED_AFTER = timedelta(days=1)
FOLDERS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """What became of files that were to be deleted."""

    files: int = 0
    bytes: int = 0
    failed: int = 0
    """Files that could not be deleted; the log names them."""

    def __add__(self, other: "Deleted") -> "Deleted":
        return Deleted(
            files=self.files + other.files,
            bytes=self.bytes + other.bytes,
            failed=self.failed + other.failed,
        )


def delete(attachments: Iterable[Attachment]) -> Deleted:
    """Delete the content of attachments whose rows are gone, or were never made.

    What cannot be deleted is logged, and does not stop the rest. Raises nothing.
    """
    deleted = Deleted()
    job_folders: dict[str, Storage] = {}
    for attachment in attachments:
        name, storage = attachment.file.name, attachment.file.storage
        if not name:
            continue
        deleted += _delete_file(storage, name, attachment.job_id, attachment.size or 0)
        folder = f"{FOLDER}/{attachment.job_id}"
        if name.startswith(f"{folder}/"):
            _delete_folder(storage, name.rpartition("/")[0])
            job_folders[folder] = storage
    for folder, storage in job_folders.items():
        _delete_folder(storage, folder)
    return deleted


def delete_orphans(*, dry_run: bool = False) -> Deleted:
    """Delete the files whose job has no row: a process died between storing a file and writing its row.

    A job's folder is left alone while anything in it is younger than a day: its row may still come.

    Raises:
        NotImplementedError: the storage cannot list what it holds.
    """
    deleted = Deleted()
    storage = storage_of_attachments()
    for job_id in _jobs_without_row(storage):
        folder = f"{FOLDER}/{job_id}"
        try:
            if _newest(storage, folder) < timezone.now() - ORPHANED_AFTER:
                deleted += _delete_tree(storage, folder, job_id, dry_run)
        except OSError as error:
            logger.warning("Job %s: its folder could not be read: %r", job_id, error)
            deleted += Deleted(failed=1)
    return deleted


def storage_of_attachments() -> Storage:
    """Where attachments are kept."""
    return Attachment._meta.get_field("file").storage


def _jobs_without_row(storage: Storage) -> Iterator[UUID]:
    try:
        folders, _files = storage.listdir(FOLDER)
    except FileNotFoundError:
        return
    # What is not named by an id is not ours.
    ids = [job_id for name in folders if (job_id := _uuid(name)) is not None]
    for start in range(0, len(ids), FOLDERS_AT_ONCE):
        some = ids[start : start + FOLDERS_AT_ONCE]
        yield from set(some) - set(Job.objects.filter(pk__in=some).values_list("pk", flat=True))


def _uuid(name: str) -> UUID | None:
    try:
        found = UUID(name)
    except ValueError:
        return None
    return found if str(found) == name else None


def _names(storage: Storage, folder: str) -> Iterator[tuple[str, bool]]:
    """All below `folder`, what is deepest first; with each name whether it is a folder."""
    folders, files = storage.listdir(folder)
    for name in files:
        yield f"{folder}/{name}", False
    for name in folders:
        yield from _names(storage, f"{folder}/{name}")
        yield f"{folder}/{name}", True


def _newest(storage: Storage, folder: str) -> datetime:
    """When something below `folder` was last changed."""
    on_disk = isinstance(storage, FileSystemStorage)
    # Other storages know folders only by the files in them.
    names = [name for name, is_folder in _names(storage, folder) if on_disk or not is_folder]
    times = [storage.get_modified_time(name) for name in ([folder, *names] if on_disk else names)]
    return max(times, default=timezone.now())


def _delete_tree(storage: Storage, folder: str, job_id: UUID, dry_run: bool) -> Deleted:
    deleted = Deleted()
    for name, is_folder in list(_names(storage, folder)):
        if not is_folder:
            size = storage.size(name)
            deleted += Deleted(files=1, bytes=size) if dry_run else _delete_file(storage, name, job_id, size)
        elif not dry_run:
            _delete_folder(storage, name)
    if not dry_run:
        _delete_folder(storage, folder)
    return deleted


def _delete_file(storage: Storage, name: str, job_id: UUID, size: int) -> Deleted:
    try:
        storage.delete(name)
    except Exception as error:
        # Each storage has errors of its own.
        logger.warning("Job %s: the file %s could not be deleted: %r", job_id, name, error)
        return Deleted(failed=1)
    return Deleted(files=1, bytes=size)


def _delete_folder(storage: Storage, folder: str) -> None:
    """Delete `folder` if it is empty; other storages than a disk's have none."""
    if isinstance(storage, FileSystemStorage):
        try:
            storage.delete(folder)
        except OSError:
            logger.debug("The folder %s is not empty", folder)
