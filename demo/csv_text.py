"""The bytes of a file as a stream of lines, some thousands at a time."""

import codecs
import io
from collections.abc import Callable, Iterator
from contextlib import closing

from django.utils.translation import gettext as _

from demo.bad_csv import MAX_BYTES, BadCSV, Opener, binary_file, refuse_size
from demo.csv_encoding import BLOCK_BYTES, Encoding

MAX_LINE_CHARS = 4 * 1024 * 1024
MAX_RECORD_BYTES = 16 * 1024 * 1024

# What str.splitlines() takes for the end of a line as well, though no CSV file means it so.
_OTHER_LINE_ENDS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


def ignore_progress(position: int) -> None:
    """For whoever does not want to know how far the reading is."""


def split_lines(text: str) -> list[str]:
    """The lines of `text` with their ends, which may be any of LF, CR LF and CR.

    Example:
        >>> split_lines("a\\r\\nb")
        ['a\\r\\n', 'b']
    """
    if any(mark in text for mark in _OTHER_LINE_ENDS):
        return list(io.StringIO(text, newline=""))
    return text.splitlines(keepends=True)


def count_lines(text: str) -> int:
    """How many line ends there are in `text`.

    Example:
        >>> count_lines("a\\r\\nb")
        1
    """
    return text.count("\n") + text.count("\r") - text.count("\r\n")


class CSVText:
    """One pass over a file, decoded strictly.

    Args:
        open_stream: opens the file.
        encoding: as detected.
        on_read: called with the position after every block of 256 KB; it may raise to end the pass.

    Example:
        >>> for lines in CSVText(open_stream, Encoding(name="utf-8")).blocks():
        ...     print(len(lines))
    """

    def __init__(
        self, open_stream: Opener, encoding: Encoding, on_read: Callable[[int], None] = ignore_progress
    ) -> None:
        self._open_stream = open_stream
        self._encoding = encoding
        self._on_read = on_read
        self._decoder = codecs.getincrementaldecoder(encoding.name)()
        self.position = 0
        """Bytes read so far."""
        self.mark = 0
        """A position that is at most a few records behind; whoever puts records together moves it on."""
        self.line = 1
        """The number of the first line that was not handed out yet."""

    def blocks(self) -> Iterator[list[str]]:
        """The lines of one block of the file after the other.

        Raises:
            BadCSV: bytes do not fit the encoding; a NUL; a line, a record or the file is too long.
        """
        rest = ""
        with closing(self._open_stream()) as stream:
            self.position = len(stream.read(len(self._encoding.bom)))
            while block := stream.read(BLOCK_BYTES):
                text = rest + self._decode(block)
                self._advance(len(block))
                # A carriage return at the end may be the first half of a line end.
                cut = max(text.rfind("\n"), text.rfind("\r", 0, -1)) + 1
                rest = text[cut:]
                if len(rest) > MAX_LINE_CHARS:
                    raise self._too_long()
                yield self._lines(text[:cut])
        yield self._lines(rest + self._decode(b"", final=True))

    def _lines(self, text: str) -> list[str]:
        lines = split_lines(text)
        self.line += len(lines)
        return lines

    def _advance(self, size: int) -> None:
        self.position += size
        if self.position > MAX_BYTES:
            refuse_size(self.position)
        if self.position - self.mark > MAX_RECORD_BYTES:
            raise self._too_long()
        self._on_read(self.position)

    def _decode(self, block: bytes, *, final: bool = False) -> str:
        try:
            text = self._decoder.decode(block, final)
        except UnicodeDecodeError as error:
            raise self._misfit(error, len(block)) from error
        if "\0" in text:
            raise binary_file()
        return text

    def _misfit(self, error: UnicodeDecodeError, size: int) -> BadCSV:
        # What the decoder held back from the previous block stands before the block in error.object.
        offset = self.position + size - len(error.object) + error.start
        before = error.object[: error.start].decode(self._encoding.name, "ignore")
        return BadCSV(
            _(
                "Byte 0x%(byte)02X in line %(line)d (at offset %(offset)d) does not fit the encoding"
                " %(encoding)s; save the file as UTF-8 and try again."
            )
            % {
                "byte": error.object[error.start],
                "line": self.line + count_lines(before),
                "offset": offset,
                "encoding": self._encoding.label,
            }
        )

    def _too_long(self) -> BadCSV:
        return BadCSV(
            _("The record before line %(line)d is too long; look for a quote that is never closed.")
            % {"line": self.line}
        )
