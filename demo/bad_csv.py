"""What cannot be profiled, told by its size and its first bytes."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from django.template.defaultfilters import filesizeformat
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

Opener = Callable[[], BinaryIO]
"""Opens the input from its first byte; called once per pass, and what it returns is closed after the pass."""

MAX_BYTES = 200 * 1024 * 1024
HEAD_BYTES = 64 * 1024

_ENCODED_WITH_NULS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_BINARY_CONTROLS = bytes(set(range(0x20)) - set(b"\t\n\x0b\x0c\r\x1b"))
_JSON = re.compile(rb'\[?\s*\{\s*"[^"]*"\s*:')

_EXPORT = gettext_lazy("export it as CSV first")
_UNPACK = gettext_lazy("unpack it first")


@dataclass(frozen=True, slots=True)
class _Signature:
    """What a file of another format begins with, or contains if it is a ZIP archive, and what to do."""

    mark: bytes
    kind: Promise
    advice: Promise = _EXPORT


_SIGNATURES = (
    _Signature(
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", gettext_lazy("an Excel workbook or another old Office document")
    ),
    _Signature(b"PK\x03\x04", gettext_lazy("a ZIP archive"), _UNPACK),
    _Signature(b"PK\x05\x06", gettext_lazy("an empty ZIP archive")),
    _Signature(b"\x1f\x8b", gettext_lazy("a gzip archive"), _UNPACK),
    _Signature(b"BZh91AY&SY", gettext_lazy("a bzip2 archive"), _UNPACK),
    _Signature(b"\xfd7zXZ\x00", gettext_lazy("an xz archive"), _UNPACK),
    _Signature(b"\x28\xb5\x2f\xfd", gettext_lazy("a Zstandard archive"), _UNPACK),
    _Signature(b"7z\xbc\xaf\x27\x1c", gettext_lazy("a 7z archive"), _UNPACK),
    _Signature(b"Rar!\x1a\x07", gettext_lazy("a RAR archive"), _UNPACK),
    _Signature(b"%PDF-", gettext_lazy("a PDF document")),
    _Signature(b"PAR1\x15", gettext_lazy("a Parquet file")),
    _Signature(b"ARROW1\x00", gettext_lazy("an Arrow file")),
    _Signature(b"SQLite format 3\x00", gettext_lazy("an SQLite database")),
    _Signature(b"\x89PNG\r\n\x1a\n", gettext_lazy("a PNG image")),
    _Signature(b"\xff\xd8\xff", gettext_lazy("a JPEG image")),
    _Signature(b"GIF87a", gettext_lazy("a GIF image")),
    _Signature(b"GIF89a", gettext_lazy("a GIF image")),
    _Signature(b"{\\rtf", gettext_lazy("an RTF document")),
)
_MARKUP = (
    _Signature(b"<!doctype html", gettext_lazy("a web page (HTML)")),
    _Signature(b"<html", gettext_lazy("a web page (HTML)")),
    _Signature(b"<?xml", gettext_lazy("an XML document")),
)
_IN_ZIP = (
    _Signature(b"vnd.oasis.opendocument.spreadsheet", gettext_lazy("an OpenDocument spreadsheet")),
    _Signature(b"xl/", gettext_lazy("an Excel workbook")),
    _Signature(b"word/", gettext_lazy("a Word document")),
    _Signature(b"[Content_Types].xml", gettext_lazy("an Excel workbook or another Office document")),
)


class BadCSV(ValueError):
    """Input that cannot be profiled; its message says in one sentence what is wrong and what to do."""


def refuse_size(size: int) -> None:
    """Refuse a file by its size.

    Args:
        size: in bytes.

    Raises:
        BadCSV: it has no byte, or more than `MAX_BYTES`.

    Example:
        >>> refuse_size(2_048)
    """
    if size == 0:
        raise empty_file()
    if size > MAX_BYTES:
        raise BadCSV(
            _("The file is too large: it has %(size)s, the limit is %(limit)s; split it first.")
            % {"size": filesizeformat(size), "limit": filesizeformat(MAX_BYTES)}
        )


def refuse_foreign(head: bytes) -> None:
    """Refuse what is not text, or text of another format, by its first bytes.

    Args:
        head: the first bytes of the file, some kilobytes of them.

    Raises:
        BadCSV: it is empty, or carries the signature of another format, or holds bytes that no text holds.

    Example:
        >>> refuse_foreign(b"name;age\\n")
    """
    if not head:
        raise empty_file()
    found = _signature(head)
    if found is not None:
        raise BadCSV(
            _("This is %(kind)s, not a CSV file; %(advice)s.") % {"kind": found.kind, "advice": found.advice}
        )
    if _looks_binary(head):
        raise binary_file()


def _signature(head: bytes) -> _Signature | None:
    if head.startswith(b"PK\x03\x04"):
        inner = next((known for known in _IN_ZIP if known.mark in head), None)
        if inner is not None:
            return inner
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _JSON.match(text):
        return _Signature(b"{", gettext_lazy("a JSON document"))
    found = next((known for known in _SIGNATURES if head.startswith(known.mark)), None)
    markup = text[:100].lower()
    return found or next((known for known in _MARKUP if markup.startswith(known.mark)), None)


def _looks_binary(head: bytes) -> bool:
    if head.startswith(_ENCODED_WITH_NULS):
        return False
    if b"\0" in head:
        return True
    controls = len(head) - len(head.translate(None, _BINARY_CONTROLS))
    return controls * 20 > len(head)


def empty_file() -> BadCSV:
    """The refusal of a file without a byte."""
    return BadCSV(_("The file is empty; choose one with a header row and data."))


def blank_file() -> BadCSV:
    """The refusal of a file that holds white space only."""
    return BadCSV(_("The file holds only blank space; choose one with a header row and data."))


def binary_file() -> BadCSV:
    """The refusal of a file that holds NUL or many other control bytes."""
    return BadCSV(
        _("This is binary (or UTF-16 without a byte order mark), not a CSV file; export it as CSV in UTF-8.")
    )
