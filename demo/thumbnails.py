"""The job that makes thumbnails: a task for each image, and one that packs what they made."""

import io
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import IO, Any, cast

from celery import Task, chord, shared_task
from celery.canvas import Signature
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from demo.forms import ThumbnailsForm
from demo.image_sources import BadUpload, Plan, Upload, plan_pictures
from demo.thumbnail_archive import REPORT, Outcome, ThumbnailArchive, report_lines
from demo.thumbnail_image import Format, make_thumbnail
from demo.zip_entries import read_entry
from status.canvas import member
from status.models import Attachment, Job
from status.progress import attach, log, track
from status.registry import startable
from status.states import State

ARCHIVE = "thumbnails.zip"
PACK = gettext_lazy("Pack")

# So many of the skipped files are named, and so many bad images in the log; of the rest there is a number.
_MOST_SKIPPED_NAMED = 1_000
_MOST_LOGGED = 20
_AT_ONCE = 200
# So many thumbnails are packed in the time in which one is made.
_PACKED_AS_FAST = 20


class NoThumbnails(ValueError):
    """Not one of the images could be made small."""


@startable(
    form=ThumbnailsForm,
    name="make-thumbnails",
    title=gettext_lazy("Make thumbnails"),
    description=gettext_lazy(
        "Makes many images small, each in a task of its own, and packs them into one archive. An image that is"
        " damaged fails alone."
    ),
    result_template="demo/thumbnails_result.html",
)
def make_thumbnails(images: list[str], longest: int, image_format: str) -> Signature:
    """The tasks that make thumbnails of all `images`: one for each, and then `pack`.

    Args:
        images: the ids of attachments, images themselves or archives of them.
        longest: side of a thumbnail in pixels.
        image_format: a value of `Format`.

    Raises:
        ValidationError: as `plan_pictures` says.

    Example:
        >>> start(make_thumbnails([str(attachment.pk)], 256, "webp"), owner=request.user)
    """
    try:
        plan = _plan(images, Format(image_format))
    except BadUpload as error:
        raise ValidationError(str(error)) from error
    thumbnails = [
        member(
            thumbnail.s(picture.file, picture.place, picture.source, picture.target, longest, image_format),
            title=picture.source,
            may_fail=True,
        )
        for picture in plan.pictures
    ]
    skipped = [list(entry) for entry in plan.skipped[:_MOST_SKIPPED_NAMED]]
    body = pack.s(skipped, len(plan.skipped))
    return chord(thumbnails, member(body, title=str(PACK), weight=max(1, len(thumbnails) / _PACKED_AS_FAST)))


# Whose worker is lost may run again: nothing is there until it is ready.
@shared_task(acks_late=True)
def thumbnail(
    file: str, place: list[int] | None, source: str, target: str, longest: int, image_format: str
) -> dict[str, Any]:
    """Make one image small, and attach the thumbnail.

    Args:
        file: the id of the attachment that it is, or that it is in.
        place: of it in an archive; see `zip_entries.Entry.place`.
        source: what people know it as.
        target: the name of its thumbnail.
        longest: side of the thumbnail in pixels.
        image_format: a value of `Format`.

    Returns:
        The id of the thumbnail's attachment (None outside a job), names, bytes and pixels.

    Raises:
        BadImage: it cannot be made small; the message says why.
        BadArchive: it cannot be read from its archive.

    Example:
        >>> thumbnail(str(attachment.pk), None, "a.jpg", "a.webp", 256, "webp")["size"]
        [256, 171]
    """
    attachment = Attachment.objects.get(pk=file)
    with _opened(attachment) as stream:
        before = attachment.size
        if place is not None:
            stream = io.BytesIO(read_entry(stream, place))
            before = len(stream.getbuffer())
        made = make_thumbnail(stream, longest, Format(image_format))
    attached = attach(PurePosixPath(target).name, made.content)
    return {
        "attachment": str(attached.pk) if attached else None,
        "source": source,
        "target": target,
        "before": before,
        "after": len(made.content),
        "original": list(made.original),
        "size": list(made.size),
    }


@shared_task(bind=True, acks_late=True)
def pack(
    self: "Task[Any, Any]",
    results: list[dict[str, Any] | None],
    skipped: Sequence[Sequence[str]] = (),
    skipped_count: int = 0,
) -> dict[str, Any]:
    """Pack the thumbnails; attaches `thumbnails.zip`, with a report in it, and the report beside it.

    Args:
        results: of the `thumbnail` tasks; None for each that failed.
        skipped: names and reasons of files that were no images.
        skipped_count: how many there are, named or not.

    Returns:
        What `demo/thumbnails_result.html` shows.

    Raises:
        NoThumbnails: there is not one; the report says why.

    Example:
        >>> pack([result], [["notes.txt", "no image"]], 1)["thumbnails"]
        1
    """
    # A chord of one task hands its result on as it is.
    results = results if isinstance(results, list) else [results]
    failures = _failures(self.request.id, results.count(None))
    outcomes: list[Outcome] = []
    with tempfile.TemporaryFile() as target:
        with ThumbnailArchive(target) as archive:
            made = [result for result in results if result is not None]
            for result, attachment in track(
                _with_attachments(made), PACK, total=len(made), unit=_("thumbnails")
            ):
                outcomes.append(_packed(archive, result, attachment))
            outcomes += failures
            outcomes += [Outcome(source=name, problem=_skipped(reason)) for name, reason in skipped]
            archive.add_report(outcomes)
        packed = [outcome for outcome in outcomes if outcome.target]
        _tell(outcomes[: len(results)], skipped, skipped_count)
        if packed:
            target.seek(0)
            attach(ARCHIVE, target)
    attach(REPORT, b"".join(report_lines(outcomes)))
    if not packed:
        raise NoThumbnails(_("Not one of the images could be read; report.csv says why."))
    return {
        "thumbnails": len(packed),
        "failed": len(results) - len(packed),
        "skipped": skipped_count,
        "before": sum(outcome.before or 0 for outcome in packed),
        "after": sum(outcome.after or 0 for outcome in packed),
    }


def _plan(files: list[str], image_format: Format) -> Plan:
    found = {str(pk): attachment for pk, attachment in Attachment.objects.in_bulk(files).items()}
    with ExitStack() as opened:
        uploads = [
            Upload(pk, found[pk].name, opened.enter_context(_opened(found[pk])), found[pk].size)
            for pk in files
        ]
        return plan_pictures(uploads, image_format.extension)


def _opened(attachment: Attachment) -> IO[bytes]:
    """By the storage and not by the field, which would keep the file."""
    stored = attachment.file
    return cast(IO[bytes], stored.storage.open(str(stored.name), "rb"))


def _with_attachments(
    results: Sequence[dict[str, Any]],
) -> Iterator[tuple[dict[str, Any], Attachment | None]]:
    """Each result with the file it names, if that is still there; some hundred rows at a time."""
    for first in range(0, len(results), _AT_ONCE):
        some = results[first : first + _AT_ONCE]
        found = Attachment.objects.in_bulk([result["attachment"] for result in some if result["attachment"]])
        by_id = {str(pk): attachment for pk, attachment in found.items()}
        for result in some:
            yield result, by_id.get(result["attachment"])


def _packed(archive: ThumbnailArchive, result: dict[str, Any], attachment: Attachment | None) -> Outcome:
    source, before = result["source"], result["before"]
    try:
        if attachment is None:
            raise FileNotFoundError
        stream = _opened(attachment)
    except FileNotFoundError:
        return Outcome(source=source, before=before, problem=_("Its thumbnail is not there any more."))
    with stream:
        archive.add(result["target"], stream)
    return Outcome(
        source=source,
        target=result["target"],
        before=before,
        after=result["after"],
        original=(result["original"][0], result["original"][1]),
        size=(result["size"][0], result["size"][1]),
    )


def _failures(job_id: str | None, count: int) -> list[Outcome]:
    """What became of the images without a result: the jobs of their tasks know."""
    root = Job.objects.filter(pk=job_id).values_list("root", flat=True).first() if job_id and count else None
    failed = Job.objects.filter(root=root, task=thumbnail.name, state=State.FAILED) if root else ()
    known = [Outcome(source=job.title, problem=job.error) for job in failed]
    unknown = Outcome(source="?", problem=_("Its task did not end well."))
    return sorted(known, key=lambda outcome: outcome.source)[:count] + [unknown] * (count - len(known))


def _skipped(reason: str) -> str:
    return _("Skipped: %(reason)s.") % {"reason": reason}


def _tell(images: Sequence[Outcome], skipped: Sequence[Sequence[str]], skipped_count: int) -> None:
    bad = [outcome for outcome in images if not outcome.target]
    for outcome in bad[:_MOST_LOGGED]:
        log("%s: %s", outcome.source, outcome.problem, level=logging.WARNING)
    if len(bad) > _MOST_LOGGED:
        more = len(bad) - _MOST_LOGGED
        log(
            ngettext("%d more image failed; see report.csv", "%d more images failed; see report.csv", more),
            more,
            level=logging.WARNING,
        )
    if skipped_count:
        log(ngettext("%d file was skipped", "%d files were skipped", skipped_count), skipped_count)
    for reason, count in Counter(reason for _name, reason in skipped).most_common():
        log("%d × %s", count, reason)
