"""What a user should know before trusting a profile: one sentence per matter, never one per row."""

from collections.abc import Iterator, Sequence

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from demo.csv_profile import ColumnProfile
from demo.csv_source import CSVSource
from demo.ragged_rows import RaggedRows

_NAMED_COLUMNS = 10
_EXAMPLE_CHARS = 40


def source_warnings(source: CSVSource) -> Iterator[str]:
    """About the encoding and the header; complete after `source.count_rows`.

    Example:
        >>> list(source_warnings(source))
        ['The text is not UTF-8; Windows-1252 is a guess.']
    """
    header = source.header
    if source.encoding.guessed:
        yield _("The text is not UTF-8; that it is %s is a guess.") % source.encoding.label
    if header.looks_like_data:
        yield _("The first row looks like data, but was taken for the header.")
    if header.unnamed:
        yield (
            ngettext(
                "%d column has no name in the header; it is called by its place.",
                "%d columns have no name in the header; they are called by their places.",
                header.unnamed,
            )
            % header.unnamed
        )
    if header.renamed:
        yield (
            ngettext(
                "%d column has the name of another one; a number was added to it.",
                "%d columns have the name of another one; a number was added to each.",
                header.renamed,
            )
            % header.renamed
        )
    if source.blank_lines:
        yield (
            ngettext("%d blank line was skipped.", "%d blank lines were skipped.", source.blank_lines)
            % source.blank_lines
        )


def profile_warnings(columns: Sequence[ColumnProfile], ragged: RaggedRows) -> Iterator[str]:
    """About ragged rows, and about the values of at most ten columns.

    Example:
        >>> list(profile_warnings(columns, ragged))
        ['Column “age”: 1 of 800 values is off, for example “none”.']
    """
    if ragged.count:
        yield _ragged_warning(ragged)
    doubtful = [(column, text) for column in columns for text in _column_warnings(column)]
    for column, text in doubtful[:_NAMED_COLUMNS]:
        yield _("Column “%(name)s”: %(text)s") % {"name": _cut(column.name), "text": text}
    left = len(doubtful) - _NAMED_COLUMNS
    if left > 0:
        yield (
            ngettext(
                "%d more such warning is in profile.json.", "%d more such warnings are in profile.json.", left
            )
            % left
        )


def _ragged_warning(ragged: RaggedRows) -> str:
    return ngettext(
        "%(count)d row does not have %(width)d fields: %(short)d has too few, which count as missing,"
        " and %(long)d too many, which were left out; see ragged.csv.",
        "%(count)d rows do not have %(width)d fields: %(short)d have too few, which count as missing,"
        " and %(long)d too many, which were left out; see ragged.csv.",
        ragged.count,
    ) % {"count": ragged.count, "width": ragged.width, "short": ragged.short, "long": ragged.long}


def _column_warnings(column: ColumnProfile) -> Iterator[str]:
    verdict = column.verdict
    if verdict.off:
        example = _cut(next(iter(verdict.off_examples), ""))
        yield ngettext(
            "%(off)d of %(count)d values is not of type %(type)s, namely “%(example)s”.",
            "%(off)d of %(count)d values are not of type %(type)s, for example “%(example)s”.",
            verdict.off,
        ) % {
            "off": verdict.off,
            "count": column.rows - column.nulls,
            "type": verdict.type.label,
            "example": example,
        }
    yield from column.notes


def _cut(text: str) -> str:
    return text if len(text) <= _EXAMPLE_CHARS else f"{text[: _EXAMPLE_CHARS - 1]}…"
