"""The monthly report as a PDF file."""

import io
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

from django.conf import settings
from django.utils import timezone, translation
from django.utils.formats import date_format, number_format
from django.utils.translation import get_language, ngettext, pgettext
from django.utils.translation import gettext as _
from reportlab.graphics.charts.barcharts import VerticalBarChart
from reportlab.graphics.shapes import Drawing
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import getFont, getRegisteredFontNames, registerFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import (
    CondPageBreak,
    Flowable,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)

from demo.order_totals import EXACT, Totals

MOST_GROUPS = 40
"""So many groups have a line of their own; the others share one."""

_CENT = Decimal("0.01")
_MOST_BARS = 24
_MOST_LEFT_OUT = 60
_FONT, _BOLD = "Vera", "VeraBd"  # They come with reportlab.
_ACCENT, _INK, _LINE, _SHADE = (HexColor(code) for code in ("#4f46e5", "#0f172a", "#cbd5e1", "#f1f5f9"))
_WIDTH = A4[0] - 40 * mm


def report_pdf(title: str, merged: Mapping[str, Any]) -> bytes:
    """The report on what `order_totals.merge` gave.

    Characters that the font lacks lose their accents, or become question marks; in a language whose letters it lacks,
    the report speaks the project's own.

    Args:
        title: stands above it.
        merged: the totals of all files.

    Example:
        >>> report_pdf("Orders of May", merged)[:5]
        b'%PDF-'
    """
    with translation.override(_language()):
        return _written(title, merged)


def _language() -> str:
    """The active language, if the font has its letters; else the project's own."""
    return str(get_language() if printable(_("By month")) == _("By month") else settings.LANGUAGE_CODE)


def _written(title: str, merged: Mapping[str, Any]) -> bytes:
    content = io.BytesIO()
    document = SimpleDocTemplate(
        content,
        pagesize=A4,
        title=title,
        **dict.fromkeys(("leftMargin", "rightMargin", "topMargin", "bottomMargin"), 20 * mm),
    )
    document.build(_story(title, merged), onFirstPage=_number_page, onLaterPages=_number_page)
    return content.getvalue()


def printable(text: str) -> str:
    """The text in characters that the font has.

    Example:
        >>> printable("Łódź, 東京")
        'Łódz, ??'
    """
    return "".join(char if ord(char) in _glyphs() else _plainer(char) for char in text)


def _plainer(char: str) -> str:
    bare = "".join(part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))
    return bare if bare and all(ord(part) in _glyphs() for part in bare) else "?"


@cache
def _glyphs() -> frozenset[int]:
    """The characters that the font has."""
    _register_fonts()
    return frozenset(getFont(_FONT).face.charToGlyph)


def _register_fonts() -> None:
    for name in {_FONT, _BOLD}.difference(getRegisteredFontNames()):
        registerFont(TTFont(name, f"{name}.ttf"))


def _story(title: str, merged: Mapping[str, Any]) -> list[Flowable]:
    totals = Totals.from_json(merged["totals"])
    months, groups = totals.by(0), totals.by(1)
    story = [_text(title, 20, bold=True), Spacer(0, 3 * mm), _text(_lead(months, totals, merged))]
    if merged["left_out"]:
        story += [Spacer(0, 2 * mm), _text(_warning(merged["left_out"]), bold=True)]
    bars = {month: amount for month, (_count, amount) in months.items()}
    if len(months) == 1:
        bars = {group: amount for group, (_count, amount) in _largest(groups)}
    story += [Spacer(0, 6 * mm), _chart(dict(list(bars.items())[:_MOST_BARS]))]
    story += _section(_("By month"), _amounts(_("Month"), months.items(), totals))
    story += _section(_("By group"), _amounts(_("Group"), _with_others(groups), totals))
    story += _section(_("Files"), _files(merged["files"]))
    rows = [(file["file"], *row) for file in merged["files"] for row in file["left_out_rows"]]
    if rows:
        story += _section(_("Rows that were left out"), _left_out(rows[:_MOST_LEFT_OUT]))
    return story


def _lead(months: Mapping[str, Any], totals: Totals, merged: Mapping[str, Any]) -> str:
    first, last = min(months), max(months)
    period = first if first == last else _("%(first)s to %(last)s") % {"first": first, "last": last}
    count, amount = totals.whole
    files = len(merged["files"])
    return _("%(period)s: %(orders)s, %(amount)s in all, from %(files)s. Made on %(today)s.") % {
        "period": period,
        "orders": ngettext("%(count)s order", "%(count)s orders", count)
        % {"count": number_format(count, force_grouping=True)},
        "amount": _money(amount),
        "files": ngettext("%d file", "%d files", files) % files,
        "today": date_format(timezone.localdate()),
    }


def _warning(count: int) -> str:
    return ngettext(
        "%(count)d row is not counted; see below.", "%(count)d rows are not counted; see below.", count
    ) % {"count": count}


def _largest(groups: Mapping[str, tuple[int, Decimal]]) -> list[tuple[str, tuple[int, Decimal]]]:
    return sorted(groups.items(), key=lambda item: -item[1][1])


def _with_others(groups: Mapping[str, tuple[int, Decimal]]) -> list[tuple[str, tuple[int, Decimal]]]:
    ranked = _largest(groups)
    shown, rest = ranked[:MOST_GROUPS], ranked[MOST_GROUPS:]
    if rest:
        cells = [cell for _name, cell in rest]
        name = ngettext("%d other", "%d others", len(rest)) % len(rest)
        shown.append((name, (sum(count for count, _sum in cells), sum((s for _c, s in cells), Decimal()))))
    return shown


def _amounts(
    what: str, cells: Iterable[tuple[str, tuple[int, Decimal]]], totals: Totals
) -> list[list[Flowable]]:
    whole_count, whole = totals.whole
    rows = [_head(what, _("Orders"), _("Total"), _("Average"), _("Share"))]
    for name, (count, amount) in [*cells, (pgettext("last row", "All"), (whole_count, whole))]:
        share = f"{number_format(100 * amount / whole, 1)} %" if whole else "–"
        numbers = (number_format(count, force_grouping=True), _money(amount), _money(amount / count), share)
        rows.append([_text(name), *(_text(number, right=True) for number in numbers)])
    return rows


def _files(files: Sequence[Mapping[str, Any]]) -> list[list[Flowable]]:
    rows = [_head(_("File"), _("Rows"), _("Left out"), _("Date"), _("Amount"))]
    for file in files:
        numbers = (number_format(file[name], force_grouping=True) for name in ("rows", "left_out"))
        columns = (file["columns"].get(name) or "–" for name in ("date", "amount"))
        rows.append([_text(file["file"]), *(_text(cell, right=True) for cell in (*numbers, *columns))])
    return rows


def _left_out(rows: Iterable[tuple[str, int, str]]) -> list[list[Flowable]]:
    cells = [_head(_("File"), _("Line"), _("Why"))]
    return cells + [[_text(file), _text(str(line), right=True), _text(reason)] for file, line, reason in rows]


def _section(title: str, rows: list[list[Flowable]]) -> list[Flowable]:
    others = len(rows[0]) - 1
    widths = [_WIDTH - others * 27 * mm, *[27 * mm] * others]
    if others == 2:
        widths = [_WIDTH * 0.35, _WIDTH * 0.12, _WIDTH * 0.53]
    table = Table(rows, colWidths=widths, repeatRows=1)
    table.setStyle(
        TableStyle(
            [
                ("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE),
                ("BACKGROUND", (0, 0), (-1, 0), _SHADE),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ]
        )
    )
    return [CondPageBreak(40 * mm), Spacer(0, 7 * mm), _text(title, 13, bold=True), Spacer(0, 2 * mm), table]


def _head(first: str, *others: str) -> list[Flowable]:
    return [_text(first, bold=True), *(_text(other, bold=True, right=True) for other in others)]


def _text(text: str, size: int = 9, *, bold: bool = False, right: bool = False) -> Flowable:
    style = ParagraphStyle(
        "text", fontName=_BOLD if bold else _FONT, fontSize=size, leading=size * 1.35, textColor=_INK
    )
    if right:
        style.alignment = TA_RIGHT
    # A paragraph reads markup, which could ask for files and addresses.
    return Paragraph(escape(printable(text)), style)


def _chart(amounts: Mapping[str, Decimal]) -> Flowable:
    drawing = Drawing(_WIDTH, 62 * mm)
    chart = VerticalBarChart()
    chart.x, chart.y, chart.width, chart.height = 24 * mm, 16 * mm, _WIDTH - 26 * mm, 42 * mm
    chart.data = [[float(amount) for amount in amounts.values()]]
    chart.bars[0].fillColor, chart.bars[0].strokeColor = _ACCENT, None
    chart.categoryAxis.categoryNames = [printable(name[:20]) for name in amounts]
    for labels in (chart.categoryAxis.labels, chart.valueAxis.labels):
        labels.fontName, labels.fontSize, labels.fillColor = _FONT, 7, _INK
    if len(amounts) > 6:
        chart.categoryAxis.labels.angle, chart.categoryAxis.labels.boxAnchor = 30, "ne"
    chart.valueAxis.labelTextFormat = lambda value: number_format(round(value), force_grouping=True)
    chart.valueAxis.valueMin = min(0.0, *chart.data[0])
    chart.valueAxis.gridStrokeColor, chart.valueAxis.visibleGrid = _LINE, True
    drawing.add(chart)
    return drawing


def _money(amount: Decimal) -> str:
    return str(number_format(amount.quantize(_CENT, context=EXACT), 2, force_grouping=True))


def _number_page(canvas: Any, document: Any) -> None:
    canvas.setFont(_FONT, 8)
    canvas.drawRightString(A4[0] - 20 * mm, 10 * mm, _("Page %d") % document.page)
