"""The archive of thumbnails, and the report of what became of each image."""

import csv
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from django.utils import timezone

from demo.profile_tables import defused

REPORT = "report.csv"

_HEADER = (
    *("file", "thumbnail", "bytes_before", "bytes_after", "width_before", "height_before"),
    *("width_after", "height_after", "problem"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one file."""

    source: str
    target: str = ""
    """The thumbnail's name; empty if there is none."""
    before: int | None = None
    """Bytes of the image."""
    after: int | None = None
    """Bytes of the thumbnail."""
    original: tuple[int, int] | None = None
    """Width and height of the image in pixels."""
    size: tuple[int, int] | None = None
    """Those of the thumbnail."""
    problem: str = ""
    """Why there is no thumbnail."""

    @property
    def row(self) -> list[object]:
        """Its line in the report."""
        sizes = [*(self.original or (None, None)), *(self.size or (None, None))]
        return [self.source, self.target, self.before, self.after, *sizes, self.problem]


class ThumbnailArchive:
    """Writes thumbnails into a ZIP archive one after the other; none of them is held.

    Args:
        target: an open file; can be sought.

    Example:
        >>> with tempfile.TemporaryFile() as target, ThumbnailArchive(target) as archive:
        ...     archive.add("lake/a.webp", stream)
        ...     archive.add_report([Outcome(source="lake/a.jpg", target="lake/a.webp")])
    """

    def __init__(self, target: IO[bytes]) -> None:
        # Stored: images do not become smaller a second time.
        self._archive = zipfile.ZipFile(target, "w", zipfile.ZIP_STORED)
        self._now = timezone.localtime().timetuple()[:6]

    def __enter__(self) -> "ThumbnailArchive":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._archive.close()

    def add(self, name: str, content: IO[bytes]) -> None:
        """Add a file.

        Raises:
            OSError: `content` cannot be read, or the archive cannot be written.
        """
        with self._archive.open(self._info(name), "w") as entry:
            shutil.copyfileobj(content, entry)

    def add_report(self, outcomes: Iterable[Outcome]) -> None:
        """Add the report as `report.csv`."""
        info = self._info(REPORT)
        info.compress_type = zipfile.ZIP_DEFLATED
        with self._archive.open(info, "w") as entry:
            for line in report_lines(outcomes):
                entry.write(line)

    def _info(self, name: str) -> zipfile.ZipInfo:
        return zipfile.ZipInfo(name, self._now)


def report_lines(outcomes: Iterable[Outcome]) -> Iterator[bytes]:
    """The report as CSV in UTF-8, line by line.

    Example:
        >>> b"".join(report_lines([Outcome(source="a.jpg", problem="The image is damaged.")]))
        b'file,thumbnail,bytes_before,...\\r\\na.jpg,,,,,,,,The image is damaged.\\r\\n'
    """
    writer = csv.writer(_Echo())
    yield _encoded(writer.writerow(_HEADER))
    for outcome in outcomes:
        yield _encoded(writer.writerow("" if cell is None else defused(str(cell)) for cell in outcome.row))


class _Echo:
    """Gives a written line back instead of keeping it."""

    def write(self, line: str) -> str:
        return line


def _encoded(line: object) -> bytes:
    return str(line).encode("utf-8", "replace")
