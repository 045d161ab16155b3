"""Rows with too few or too many fields: counted, made to fit, and the first of them kept for the report."""

from collections.abc import Sequence
from dataclasses import dataclass, field

MAX_KEPT = 1_000
MAX_KEPT_CHARS = 1_000_000
_MAX_FIELD_CHARS = 500
_SURPLUS_KEPT = 20


@dataclass(frozen=True, slots=True)
class RaggedRow:
    """One of them, as it stands in the file; long fields are cut."""

    line: int
    """The line it begins in, from 1."""
    width: int
    """How many fields it has; `fields` may hold fewer."""
    fields: tuple[str, ...]


@dataclass(slots=True)
class RaggedRows:
    """All of them in one file.

    Example:
        >>> ragged = RaggedRows(width=3)
        >>> ragged.fit(["1", "2"], line=7)
        ['1', '2', '']
    """

    width: int
    """How many fields a row should have."""
    short: int = 0
    long: int = 0
    kept: list[RaggedRow] = field(default_factory=list)
    _chars: int = 0

    @property
    def count(self) -> int:
        """How many there are, kept or not."""
        return self.short + self.long

    def fit(self, row: Sequence[str], line: int) -> list[str]:
        """Note a ragged row and make it fit: what is missing is empty, what is too much is left out.

        Args:
            row: its fields.
            line: the line it begins in, from 1.

        Returns:
            Exactly `width` fields.
        """
        if len(row) < self.width:
            self.short += 1
        else:
            self.long += 1
        if len(self.kept) < MAX_KEPT and self._chars < MAX_KEPT_CHARS:
            self._keep(row, line)
        return [*row[: self.width], *[""] * (self.width - len(row))]

    def _keep(self, row: Sequence[str], line: int) -> None:
        fields = tuple(value[:_MAX_FIELD_CHARS] for value in row[: self.width + _SURPLUS_KEPT])
        self._chars += sum(map(len, fields)) + len(fields)
        self.kept.append(RaggedRow(line, len(row), fields))
