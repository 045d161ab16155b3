"""The encoding of a CSV file: told by its byte order mark, proved for UTF-8, guessed for everything else."""

import codecs
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO

from charset_normalizer import CharsetMatch, from_bytes

from demo.bad_csv import Opener

BLOCK_BYTES = 256 * 1024

_BYTE_ORDER_MARKS = (
    # UTF-32 first: its mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WESTERN = "cp1252"
_CENTRAL_EUROPEAN = "cp1250"
# The most common one first.
_LATIN = (_WESTERN, _CENTRAL_EUROPEAN, "cp1254")
_CANDIDATES = [
    *_LATIN,
    *("cp1251", "koi8_r", "cp1253", "cp1255", "cp1256"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949"),
]

_MULTIBYTE_UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_HIGH_BYTES = re.compile(rb"[\x80-\xff]+")
# None of these bytes is part of a multibyte character in any candidate, so a cut there breaks no character.
_CELL_ENDS = re.compile(rb'[\r\n\t",;]+')
_RUN_IN_LATIN_SCRIPT = re.compile(
    rb"(?<![\x80-\xff])[\x80-\xff](?![\x80-\xff])"
    rb"|(?<=[A-Za-z])[\x80-\xff]{2}(?![\x80-\xff])|(?<![\x80-\xff])[\x80-\xff]{2}(?=[A-Za-z])"
)
# Within a word these are letters of Polish, Czech or Croatian, and signs or rare letters in Windows-1252.
_CENTRAL_LETTER = re.compile(rb"[A-Za-z\xc0-\xff][\x9a\x9e\x9f\xb3\xb9\xbf][a-z]")
# Signs that stand in English text as well: no letter tells the language, Windows-1252 is by far the
# likeliest.
_SIGNS = "°£€§©®™±µ²³¼½¾·‘’“”–—…\xa0".encode(_WESTERN)

_CELLS_PER_BLOCK = 64
_CELL_BYTES = 400
_SAMPLED_BLOCKS = 32
_CHAOS_TOLERANCE = 0.02
_COHERENCE_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How the bytes of a file become text."""

    name: str
    """A codec of Python's that does not expect a byte order mark."""
    bom: bytes = b""
    """The byte order mark the file begins with."""
    guessed: bool = False
    """No proof: another encoding would fit the bytes as well."""

    @property
    def label(self) -> str:
        """The name that people know: `Windows-1252` for Python's `cp1252`."""
        if self.name.startswith("cp125"):
            return f"Windows-{self.name[2:]}"
        return {"cp932": "Shift JIS", "cp949": "EUC-KR"}.get(self.name, self.name.upper().replace("_", "-"))


def detect_encoding(open_stream: Opener) -> Encoding:
    """The encoding of a file, in one pass over it and a second one if it is not UTF-8.

    A byte order mark decides. Without one the file is UTF-8 if all of it decodes so. Otherwise the encoding
    is guessed from cells with non-ASCII bytes, taken from the whole length of the file. A file that is
    UTF-8 but for a few bytes is not guessed at: reading it will tell where they are.

    Args:
        open_stream: opens the file.

    Returns:
        The encoding; not all bytes need fit it.

    Example:
        >>> detect_encoding(lambda: io.BytesIO("Größe\\n".encode("cp1252"))).name
        'cp1252'
    """
    with closing(open_stream()) as stream:
        head = stream.read(4)
        marked = marked_encoding(head)
        if marked is not None:
            return marked
        fault = _first_utf8_fault(head, stream)
    if fault is None:
        return Encoding(name="utf-8")
    with closing(open_stream()) as stream:
        return guess_encoding(_sample_cells(stream, fault // BLOCK_BYTES))


def marked_encoding(head: bytes) -> Encoding | None:
    """The encoding that a byte order mark at the beginning of `head` (at least 4 bytes) names, if any.

    Example:
        >>> marked_encoding(b"\\xff\\xfea\\x00").name
        'utf-16-le'
    """
    for bom, name in _BYTE_ORDER_MARKS:
        if head.startswith(bom):
            return Encoding(name=name, bom=bom)
    return None


def guess_encoding(cells: Sequence[bytes]) -> Encoding:
    """The encoding which makes the most sense of `cells`.

    Args:
        cells: whole cells that hold bytes beyond ASCII.

    Returns:
        A guess; or UTF-8, without being one, if the cells are UTF-8 but for a few bytes or nothing fits.

    Example:
        >>> guess_encoding([b"caf\\xe9"]).name
        'cp1252'
    """
    sample = b"\n".join(cells)
    if _is_broken_utf8(sample):
        return Encoding(name="utf-8")
    if not b"".join(_HIGH_BYTES.findall(sample)).strip(_SIGNS):
        return Encoding(name=_WESTERN, guessed=True)
    matches = list(from_bytes(sample, cp_isolation=_CANDIDATES))
    if _is_latin_script(sample):
        latin = [match for match in matches if not set(match.could_be_from_charset).isdisjoint(_LATIN)]
        if latin:
            return Encoding(name=_best_latin(latin, sample), guessed=True)
    if not matches:
        # Reading it as UTF-8 will tell where the first byte is that does not fit.
        return Encoding(name="utf-8")
    return Encoding(name=matches[0].encoding, guessed=True)


def _first_utf8_fault(head: bytes, stream: BinaryIO) -> int | None:
    """The offset of the first block that is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = 0
    block = head
    try:
        while block:
            decoder.decode(block)
            position += len(block)
            block = stream.read(BLOCK_BYTES)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return position
    return None


def _sample_cells(stream: BinaryIO, fault: int) -> list[bytes]:
    """Cells with non-ASCII bytes: from the block `fault`, and from others evenly over the file."""
    samples: list[list[bytes]] = []
    kept: list[bytes] = []
    for index, block in enumerate(iter(lambda: stream.read(BLOCK_BYTES), b"")):
        cells = _high_cells(block)
        if index in (fault, fault + 1):
            kept += cells
        elif cells:
            samples.append(cells)
    stride = max(1, -(-len(samples) // _SAMPLED_BLOCKS))
    return kept + [cell for cells in samples[::stride] for cell in cells]


def _high_cells(block: bytes) -> list[bytes]:
    if block.isascii():
        return []
    cells: list[bytes] = []
    end = 0
    while len(cells) < _CELLS_PER_BLOCK and (found := _HIGH_BYTES.search(block, end)) is not None:
        # Long cells are cut; a character cut in two at most adds noise to one cell of many.
        low = max(end, found.start() - _CELL_BYTES)
        start = max((match.end() for match in _CELL_ENDS.finditer(block, low, found.start())), default=low)
        stop = _CELL_ENDS.search(block, found.end(), found.end() + _CELL_BYTES)
        end = stop.start() if stop is not None else min(len(block), found.end() + _CELL_BYTES)
        cells.append(block[start:end])
    return cells


def _is_broken_utf8(sample: bytes) -> bool:
    """Whether most bytes beyond ASCII form UTF-8, which hardly happens by chance in another encoding."""
    high = sum(map(len, _HIGH_BYTES.findall(sample)))
    return sum(map(len, _MULTIBYTE_UTF8.findall(sample))) >= 0.6 * high > 0


def _is_latin_script(sample: bytes) -> bool:
    """Whether bytes beyond ASCII mostly stand alone or in words of ASCII letters, as accented letters do."""
    runs = len(_HIGH_BYTES.findall(sample))
    return 2 * len(_RUN_IN_LATIN_SCRIPT.findall(sample)) >= runs


def _best_latin(matches: Sequence[CharsetMatch], sample: bytes) -> str:
    """Windows-1252 or a sibling; they differ in a few letters, so ties go to the most common one."""
    if _CENTRAL_LETTER.search(sample) and any(
        _CENTRAL_EUROPEAN in match.could_be_from_charset for match in matches
    ):
        return _CENTRAL_EUROPEAN
    chaos = min(match.chaos for match in matches) + _CHAOS_TOLERANCE
    sound = [match for match in matches if match.chaos <= chaos]
    coherence = max(match.coherence for match in sound) - _COHERENCE_TOLERANCE
    coherent = [match for match in sound if match.coherence >= coherence]
    names = {name for match in coherent for name in match.could_be_from_charset}
    return next(name for name in _LATIN if name in names)
