"""The files in a ZIP archive, and how to read one of them without reading the archive's directory again.

To open an archive takes time that grows with the number of its files. Who has ten thousand tasks read one
file each lets them begin where the file begins.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from django.utils.translation import gettext as _

MAX_ENTRIES = 20_000
"""So many files may be in an archive, of whatever kind."""

_MAX_DIRECTORY_BYTES = 8 * 1024 * 1024
_END = struct.Struct("<4s4H2LH")
_END_MARK = b"PK\x05\x06"
_MOST_COMMENT_BYTES = 0xFFFF
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_LOCATOR_64_MARK = b"PK\x06\x07"
_LOCAL = struct.Struct("<4s22x2H")
_LOCAL_MARK = b"PK\x03\x04"
_ENCRYPTED = 0x1
_UTF_8 = 0x800
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class BadArchive(ValueError):
    """An archive, or a file in it, that cannot be read; its message says why, without the archive's name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in an archive."""

    name: str
    """As the archive has it, folders and all; may hold anything."""
    offset: int
    """Where it begins in the archive, in bytes."""
    packed: int
    """How many bytes of the archive it takes."""
    size: int
    """How many bytes it says it has unpacked."""
    crc: int
    method: int
    encrypted: bool = False

    @property
    def place(self) -> list[int]:
        """All that `read_entry` needs, as JSON."""
        return [self.offset, self.packed, self.size, self.crc, self.method]


def is_archive(head: bytes) -> bool:
    """Whether these first bytes of a file are those of a ZIP archive.

    Example:
        >>> is_archive(b"PK\\x03\\x04...")
        True
    """
    return head.startswith((_LOCAL_MARK, _END_MARK))


def entries_of(stream: IO[bytes]) -> Iterator[Entry]:
    """The files of an archive, without its folders, in its order.

    Args:
        stream: the archive; can be sought.

    Raises:
        BadArchive: it is damaged, or has more than `MAX_ENTRIES` files.

    Example:
        >>> [entry.name for entry in entries_of(open("photos.zip", "rb"))]
        ['lake/IMG_0001.JPG', 'lake/IMG_0002.JPG']
    """
    if _directory_bytes(stream) > _MAX_DIRECTORY_BYTES:
        raise _too_many()
    try:
        with zipfile.ZipFile(stream) as archive:
            found = archive.infolist()
    except UnicodeDecodeError:
        raise BadArchive(_("The names of its files are damaged.")) from None
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error) as error:
        raise BadArchive(_("It is damaged: %(error)s.") % {"error": str(error).rstrip(".")}) from error
    if len(found) > MAX_ENTRIES:
        raise _too_many()
    for info in found:
        if not info.is_dir():
            yield _entry(info)


def read_entry(stream: IO[bytes], place: list[int], most: int | None = None) -> bytes:
    """One file of an archive.

    Args:
        stream: the archive; can be sought.
        place: of the entry; see `Entry.place`.
        most: read no more than so many bytes, without checking them; all if None.

    Raises:
        BadArchive: it is damaged, longer than it says, or packed in an unusual way.

    Example:
        >>> read_entry(open("photos.zip", "rb"), entry.place)[:2]
        b'\\xff\\xd8'
    """
    offset, packed, size, crc, method = place
    if method not in _METHODS:
        raise BadArchive(_("It is packed in an unusual way (method %(method)d).") % {"method": method})
    stream.seek(offset)
    header = stream.read(_LOCAL.size)
    mark, name_bytes, extra_bytes = _LOCAL.unpack(header) if len(header) == _LOCAL.size else (b"", 0, 0)
    if mark != _LOCAL_MARK:
        raise BadArchive(_("It is not where the archive says."))
    stream.seek(offset + _LOCAL.size + name_bytes + extra_bytes)
    if most is not None:
        return _unpacked(stream.read(min(packed, 2 * most + 64)), method, most)
    data = _unpacked(stream.read(packed), method, size + 1)
    if len(data) != size or zlib.crc32(data) != crc:
        raise BadArchive(_("It is damaged in the archive."))
    return data


def _unpacked(data: bytes, method: int, most: int) -> bytes:
    if method == zipfile.ZIP_STORED:
        return data[:most]
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, most)
    except zlib.error:
        raise BadArchive(_("It is damaged in the archive.")) from None


def _entry(info: zipfile.ZipInfo) -> Entry:
    return Entry(
        name=_name(info),
        offset=info.header_offset,
        packed=info.compress_size,
        size=info.file_size,
        crc=info.CRC,
        method=info.compress_type,
        encrypted=bool(info.flag_bits & _ENCRYPTED),
    )


def _name(info: zipfile.ZipInfo) -> str:
    """The name; many programs write UTF-8 without saying so, which `zipfile` takes for the DOS code page."""
    if info.flag_bits & _UTF_8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _too_many() -> BadArchive:
    return BadArchive(
        _("It has more files than the limit of %(most)d; divide it into several.") % {"most": MAX_ENTRIES}
    )


def _directory_bytes(stream: IO[bytes]) -> int:
    """How long the archive's directory says it is: `zipfile` would read millions of names into memory."""
    end = stream.seek(0, 2)
    start = max(0, end - _END.size - _MOST_COMMENT_BYTES - _LOCATOR_64.size)
    stream.seek(start)
    tail = stream.read(end - start)
    found = tail.rfind(_END_MARK)
    if found < 0 or len(tail) - found < _END.size:
        raise BadArchive(_("It is damaged: its end is missing."))
    size: int = _END.unpack_from(tail, found)[5]
    locator = tail[max(0, found - _LOCATOR_64.size) : found]
    if not locator.startswith(_LOCATOR_64_MARK) or len(locator) < _LOCATOR_64.size:
        return size
    stream.seek(min(end, _LOCATOR_64.unpack(locator)[2]))
    record = stream.read(_END_64.size)
    return int(_END_64.unpack(record)[8]) if len(record) == _END_64.size else size
