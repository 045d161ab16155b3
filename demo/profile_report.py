"""A profiled file, and what is told about it in JSON: the file to download, and the summary for the page."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from demo.column_types import ColumnType
from demo.csv_profile import ColumnProfile, Extreme
from demo.csv_source import CSVSource
from demo.ragged_rows import RaggedRows

MAX_SUMMARY_COLUMNS = 200

_SUMMARY_CHARS = 60
_SUMMARY_TOKENS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileReport:
    """A profiled file."""

    name: str
    """Of the file as it was uploaded."""
    size: int
    """In bytes."""
    source: CSVSource
    rows: int
    columns: Sequence[ColumnProfile]
    ragged: RaggedRows
    warnings: Sequence[str]


def profile_json(report: ProfileReport) -> bytes:
    """The whole profile as indented JSON in UTF-8.

    Numbers are JSON numbers: integers exact; decimals, and means that are no integers, the nearest double.

    Example:
        >>> json.loads(profile_json(report))["columns"][0]["type"]
        'integer'
    """
    facts = {
        "file": _file_facts(report),
        "rows": report.rows,
        "blank_lines": report.source.blank_lines,
        "ragged_rows": _ragged_facts(report.ragged),
        "warnings": list(report.warnings),
        "columns": [column_facts(column) for column in report.columns],
    }
    return json.dumps(facts, ensure_ascii=False, indent=2, allow_nan=False).encode()


def summary(report: ProfileReport) -> dict[str, Any]:
    """What the job returns for its page: bounded however long, wide or wordy the file is.

    Example:
        >>> summary(report)["rows"]
        1000000
    """
    shown = report.columns[:MAX_SUMMARY_COLUMNS]
    return {
        "file": _file_facts(report),
        "rows": report.rows,
        "ragged_rows": _ragged_facts(report.ragged),
        "column_count": len(report.columns),
        "columns_left_out": len(report.columns) - len(shown),
        "columns": [_brief(column) for column in shown],
    }


def column_facts(column: ColumnProfile) -> dict[str, Any]:
    """One column as JSON.

    Example:
        >>> column_facts(column)["distinct"]
        1000
    """
    verdict = column.verdict
    facts: dict[str, Any] = {
        "name": column.name,
        "type": verdict.type.value,
        "rows": column.rows,
        "nulls": column.nulls,
        "null_tokens": dict(column.null_tokens),
        "distinct": column.distinct,
        "distinct_exact": column.distinct_error == 0,
        "distinct_standard_error": round(column.distinct_error, 4),
        "min": wire_value(column.minimum, zoned=verdict.tally.zoned),
        "max": wire_value(column.maximum, zoned=verdict.tally.zoned),
        "mean": wire_value(verdict.mean),
        "sum": wire_value(verdict.tally.total) if verdict.type.is_number else None,
        "min_length": column.shortest if verdict.type.is_text else None,
        "max_length": column.longest if verdict.type.is_text else None,
        "most_frequent": [
            {"value": entry.value, "count": entry.count, "count_error": entry.error}
            for entry in column.frequent
        ],
        "other_values_at_most": column.uncounted,
        "off": verdict.off,
        "off_examples": list(verdict.off_examples),
        "parts": {kind.value: count for kind, count in verdict.parts.items()},
        "notes": list(column.notes),
    }
    return facts


def wire_value(value: Extreme | Fraction | None, *, zoned: bool = False) -> int | float | str | None:
    """A value as JSON holds it: dates in ISO 8601, with a Z if they are `zoned`; whole numbers exact.

    Example:
        >>> wire_value(Decimal("12.50"))
        12.5
    """
    if isinstance(value, datetime):
        return value.isoformat() + ("Z" if zoned else "")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Fraction) and value.denominator == 1:
        return value.numerator
    if isinstance(value, Decimal | Fraction):
        return float(value)
    return value


def _file_facts(report: ProfileReport) -> dict[str, Any]:
    source = report.source
    return {
        "name": report.name,
        "size": report.size,
        "encoding": source.encoding.label,
        "encoding_guessed": source.encoding.guessed,
        "byte_order_mark": bool(source.encoding.bom),
        "delimiter_name": source.dialect.delimiter_label,
        "delimiter": None if source.dialect.is_single_column else source.dialect.delimiter,
        "quote": source.dialect.quote or None,
    }


def _ragged_facts(ragged: RaggedRows) -> dict[str, int]:
    return {
        "count": ragged.count,
        "too_short": ragged.short,
        "too_long": ragged.long,
        "kept": len(ragged.kept),
    }


def _brief(column: ColumnProfile) -> dict[str, Any]:
    """The facts of a column that the page shows, long texts cut."""
    facts = column_facts(column)
    for left_out in ("rows", "sum", "off_examples", "distinct_exact"):
        del facts[left_out]
    tokens = list(column.null_tokens.items())[:_SUMMARY_TOKENS]
    if column.type is ColumnType.DATETIME:
        facts |= {key: facts[key].replace("T", " ") for key in ("min", "max")}
    facts |= {
        "name": _cut(column.name),
        "null_tokens": [{"token": token, "count": count} for token, count in tokens],
        "min": _cut(facts["min"]),
        "max": _cut(facts["max"]),
        "most_frequent": [entry | {"value": _cut(entry["value"])} for entry in facts["most_frequent"]],
        "parts": [{"type": kind, "count": count} for kind, count in facts["parts"].items()],
    }
    return facts


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _SUMMARY_CHARS:
        return f"{value[: _SUMMARY_CHARS - 1]}…"
    return value
