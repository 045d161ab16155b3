"""Which images there are in what was uploaded, and what their thumbnails are called."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import IO

from django.template.defaultfilters import filesizeformat
from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from demo.zip_entries import BadArchive, Entry, entries_of, is_archive, read_entry
from status.spelling import enumerated

MAX_IMAGES = 10_000
MAX_IMAGE_BYTES = 100 * 1024 * 1024
MAX_UNPACKED_BYTES = 2 * 1024 * 1024 * 1024
HEAD_BYTES = 32

_EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .gif .webp .bmp .dib .tif .tiff .avif".split()  # noqa: SIM905
)
_IMAGE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|BM.{4}\0{4}|II\*\0|MM\0\*|....ftypavi[fs]",
    re.DOTALL,
)
_SYSTEM_FOLDERS = frozenset(["__macosx", ".git", ".svn", "@eadir"])
_SYSTEM_FILES = frozenset([".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", ".picasa.ini"])

_OF_THE_SYSTEM = gettext_lazy("a file of the operating system")
_NO_IMAGE = gettext_lazy("no image")
_ARCHIVE = gettext_lazy("an archive that is not looked into")
_TOO_LARGE = format_lazy(gettext_lazy("larger than {limit} MB"), limit=MAX_IMAGE_BYTES // 1024**2)
_KNOWN_BY_NAME = {
    ".svg": gettext_lazy("a drawing (SVG), which has no pixels"),
    ".heic": gettext_lazy("HEIC, which cannot be read here; export it as JPEG"),
    ".heif": gettext_lazy("HEIF, which cannot be read here; export it as JPEG"),
    ".zip": _ARCHIVE,
    ".rar": _ARCHIVE,
    ".7z": _ARCHIVE,
}

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\ud800-\udfff]')
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.IGNORECASE)
_MAX_PART_CHARS = 100
_MAX_PARTS = 8


class BadUpload(ValueError):
    """An upload of which no thumbnails can be made; its message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What was uploaded: an image, an archive of images, or something else."""

    id: str
    """Of its attachment; empty before it has one."""
    name: str
    stream: IO[bytes]
    """Can be sought."""
    size: int
    """In bytes."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image to be made small."""

    file: str
    """The id of the upload that it is, or that it is in."""
    place: list[int] | None
    """Where it is in an archive; see `zip_entries.Entry.place`."""
    source: str
    """What people know it as."""
    target: str
    """The name of its thumbnail: a relative path that is safe on any system, and the only one of that name."""


@dataclass(slots=True)
class Plan:
    """What is to be done."""

    pictures: list[Picture] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """Name and reason of each file that is none of the pictures."""
    unpacked: int = 0
    """How many bytes the pictures in archives say they have."""


def plan_pictures(uploads: Iterable[Upload], extension: str) -> Plan:
    """Look through uploads for images; nothing is unpacked but the first bytes of what is named like no image.

    Args:
        uploads: images and archives of them.
        extension: of the thumbnails, with its point.

    Raises:
        BadUpload: there is no image, there are too many, or an archive is damaged, encrypted or would
            unpack to too much.

    Example:
        >>> [picture.target for picture in plan_pictures([upload], ".webp").pictures]
        ['lake/IMG_0001.webp', 'lake/IMG_0002.webp']
    """
    known = list(uploads)
    plan, names = Plan(), TargetNames(extension)
    for upload in known:
        head = _head(upload.stream)
        if is_archive(head):
            # Of several archives each has a folder of its own.
            folder = f"{PurePosixPath(upload.name).stem}/" if len(known) > 1 else ""
            _add_archive(plan, names, upload, folder)
        elif reason := _reason_to_skip(upload.name, upload.size, partial(bytes, head)):
            plan.skipped.append((upload.name, str(reason)))
        else:
            plan.pictures.append(Picture(upload.id, None, upload.name, names.fresh(upload.name)))
        _refuse_too_much(plan, upload)
    if not plan.pictures:
        raise BadUpload(_none_message(known, plan))
    return plan


def _add_archive(plan: Plan, names: "TargetNames", upload: Upload, folder: str) -> None:
    for entry in _entries(upload):
        reason = _reason_to_skip(entry.name, entry.size, partial(_entry_head, upload, entry))
        source = f"{folder}{entry.name}"
        if reason:
            plan.skipped.append((source, str(reason)))
            continue
        plan.pictures.append(Picture(upload.id, entry.place, source, names.fresh(source)))
        plan.unpacked += entry.size


def _entries(upload: Upload) -> Iterator[Entry]:
    try:
        for entry in entries_of(upload.stream):
            if entry.encrypted:
                raise BadUpload(
                    _("%(name)s is encrypted; make an archive without a password.") % {"name": upload.name}
                )
            yield entry
    except BadArchive as error:
        raise BadUpload(
            _("%(name)s cannot be read. %(error)s") % {"name": upload.name, "error": error}
        ) from error


def _refuse_too_much(plan: Plan, upload: Upload) -> None:
    if len(plan.pictures) > MAX_IMAGES:
        raise BadUpload(
            _("These are more than %(most)d images; divide them among several jobs.") % {"most": MAX_IMAGES}
        )
    if plan.unpacked > MAX_UNPACKED_BYTES:
        raise BadUpload(
            _("With %(name)s the images would take %(size)s when unpacked; the limit is %(most)s.")
            % {
                "name": upload.name,
                "size": filesizeformat(plan.unpacked),
                "most": filesizeformat(MAX_UNPACKED_BYTES),
            }
        )


def _none_message(uploads: list[Upload], plan: Plan) -> str:
    if not plan.skipped:
        return _("%(name)s is empty.") % {"name": enumerated(upload.name for upload in uploads)}
    name, reason = plan.skipped[0]
    return _("There is no image in what you chose; %(name)s, for example: %(reason)s.") % {
        "name": name,
        "reason": reason,
    }


def _reason_to_skip(name: str, size: int, head: Callable[[], bytes]) -> str | Promise:
    """Why a file is no picture; empty if it is one, as far as can be told without decoding it."""
    *folders, last = [part.lower() for part in re.split(r"[\\/]", name)]
    if _SYSTEM_FOLDERS.intersection(folders) or last in _SYSTEM_FILES or last.startswith("._"):
        return _OF_THE_SYSTEM
    extension = PurePosixPath(last).suffix
    if extension in _KNOWN_BY_NAME:
        return _KNOWN_BY_NAME[extension]
    if extension not in _EXTENSIONS and not _IMAGE.match(head()):
        return _NO_IMAGE
    return _TOO_LARGE if size > MAX_IMAGE_BYTES else ""


def _head(stream: IO[bytes]) -> bytes:
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    stream.seek(0)
    return head


def _entry_head(upload: Upload, entry: Entry) -> bytes:
    try:
        return read_entry(upload.stream, entry.place, most=HEAD_BYTES)
    except BadArchive:
        return b""


class TargetNames:
    """Names of thumbnails, each given out once; capitals make no difference, as on many systems.

    Example:
        >>> names = TargetNames(".png")
        >>> names.fresh("../lake/a.jpg"), names.fresh("lake/A.gif")
        ('lake/a.png', 'lake/A (2).png')
    """

    def __init__(self, extension: str) -> None:
        self._extension = extension
        self._taken: set[str] = set()
        self._count: dict[str, int] = {}

    def fresh(self, source: str) -> str:
        """A name for the thumbnail of `source`, which may be any text."""
        path = safe_path(source)
        suffix = PurePosixPath(path).suffix
        stem = path.removesuffix(suffix) if suffix.lower() in _EXTENSIONS else path
        key, name = stem.casefold(), f"{stem}{self._extension}"
        while name.casefold() in self._taken:
            self._count[key] = self._count.get(key, 1) + 1
            name = f"{stem} ({self._count[key]}){self._extension}"
        self._taken.add(name.casefold())
        return name


def safe_path(name: str) -> str:
    """A relative path that stays below the folder where an archive is unpacked, on any system.

    Args:
        name: from an archive or a browser; may hold anything.

    Example:
        >>> safe_path("..\\\\..\\\\etc\\\\a.jpg"), safe_path("/"), safe_path("con.png")
        ('etc/a.jpg', 'image', '_con.png')
    """
    parts = [_safe_part(part) for part in re.split(r"[\\/]+", unicodedata.normalize("NFC", name))]
    return "/".join([part for part in parts if part][-_MAX_PARTS:]) or "image"


def _safe_part(part: str) -> str:
    part = _FORBIDDEN.sub("_", part).strip(" .")
    if len(part) > _MAX_PART_CHARS:
        suffix = PurePosixPath(part).suffix[:10]
        part = part[: _MAX_PART_CHARS - len(suffix)] + suffix
    return f"_{part}" if _DEVICE.match(part) else part
