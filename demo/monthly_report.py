"""The job that makes one report of many files of orders: each is profiled and added up, then merged, then rendered."""

import csv
import hashlib
import io
import logging
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from celery import chain, chord, shared_task
from celery.canvas import Signature
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext

from demo.bad_csv import BadCSV
from demo.csv_profile import profile_table
from demo.forms import MonthlyReportForm
from demo.order_columns import BadOrders, Choice, find_columns
from demo.order_totals import FileTotals, Totals, add_up, merge
from demo.profile_tables import defused
from demo.ragged_rows import RaggedRows
from demo.report_pdf import printable, report_pdf
from demo.tasks import PROFILE, READ, ROWS, read_table
from status.canvas import member
from status.models import Attachment
from status.progress import attach, log, plan, step
from status.registry import startable

ADD_UP = gettext_lazy("Add up")
PDF, TOTALS = "report.pdf", "totals.csv"

# So many groups and months are on the page of the job; the files have them all.
_MOST_SHOWN = 24


@startable(
    form=MonthlyReportForm,
    name="monthly-report",
    title=gettext_lazy("Monthly report"),
    description=gettext_lazy(
        "Adds up the orders in several CSV files by month and shop, and makes a PDF report of them: one file after"
        " the other is profiled, then they are merged, then rendered."
    ),
    result_template="demo/report_result.html",
)
def monthly_report(
    orders: list[str], heading: str = "", date: str = "", amount: str = "", group: str = ""
) -> Signature:
    """The tasks of a report: one for each file, one that merges, one that renders.

    Args:
        orders: the ids of the attachments that hold them, CSV files.
        heading: stands above the report; default "Monthly report".
        date: the name of the column with the date; empty: it is found.
        amount: as `date`, for the amount.
        group: as `date`, for what the orders are grouped by; without such a column, the file's name.

    Example:
        >>> start(monthly_report([str(attachment.pk)], amount="net"), owner=request.user)
    """
    names = {str(pk): attachment.name for pk, attachment in Attachment.objects.in_bulk(orders).items()}
    profiles = [
        member(profile_orders.s(file, date, amount, group), title=names[file], weight=8) for file in orders
    ]
    merged = chord(profiles, member(merge_orders.s(), title=_("Merge")))
    return chain(
        merged, member(render_report.s(heading or _("Monthly report")), title=pgettext("a report", "Render"))
    )


@shared_task(acks_late=True)
def profile_orders(file: str, date: str = "", amount: str = "", group: str = "") -> dict[str, Any]:
    """Profile one file, find its columns, and add up its orders by month and group.

    Args:
        file: the id of its attachment.
        date: as for `monthly_report`, like `amount` and `group`.

    Returns:
        What `order_totals.merge` takes.

    Raises:
        BadOrders: it has no such columns, or they do not hold dates and amounts.
        BadCSV: it is no CSV file that can be read.

    Example:
        >>> profile_orders(str(attachment.pk))["totals"]
        [['2026-05', 'Berlin', 1204, '96320.00']]
    """
    plan({READ: 1, PROFILE: 6, ADD_UP: 3})
    attachment = Attachment.objects.get(pk=file)
    try:
        return _profiled(attachment, Choice(date, amount, group))
    except (BadCSV, BadOrders) as error:
        # One of many: it has to say which.
        raise type(error)(f"{attachment.name}: {error}") from error


@shared_task(acks_late=True)
def merge_orders(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge what the files come to.

    Args:
        results: of the `profile_orders` tasks.

    Returns:
        What `render_report` takes.

    Raises:
        BadOrders: a file came twice, or there are no orders in them.

    Example:
        >>> merge_orders([profile_orders(berlin), profile_orders(paris)])["rows"]
        2410
    """
    merged = merge(results)
    rows, files = merged["rows"], len(merged["files"])
    log(
        _("%s in %s"),
        ngettext("%d row", "%d rows", rows) % rows,
        ngettext("%d file", "%d files", files) % files,
    )
    if merged["left_out"]:
        log(_left_out(merged["left_out"]), merged["left_out"], level=logging.WARNING)
    return merged


@shared_task(acks_late=True)
def render_report(merged: dict[str, Any], heading: str = "") -> dict[str, Any]:
    """Make the report; attaches `report.pdf` and `totals.csv`.

    Args:
        merged: by `merge_orders`.
        heading: stands above it.

    Returns:
        What `demo/report_result.html` shows.

    Example:
        >>> render_report(merged, "Orders of May")["orders"]
        2410
    """
    totals = Totals.from_json(merged["totals"])
    if any(printable(group) != group for group in totals.by(1)):
        log(_("Some names have characters that the PDF's font lacks; totals.csv has them all."))
    attach(PDF, report_pdf(heading or _("Monthly report"), merged))
    attach(TOTALS, totals_csv(totals))
    return _summary(totals, merged)


def totals_csv(totals: Totals) -> bytes:
    """The totals as CSV in UTF-8, a row for each month and group.

    Example:
        >>> totals_csv(totals)
        b'month,group,orders,total\\r\\n2026-05,Berlin,1204,96320.00\\r\\n'
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("month", "group", "orders", "total"))
    for row in totals.to_json():
        writer.writerow(defused(str(cell)) for cell in row)
    return text.getvalue().encode("utf-8", "replace")


def _profiled(attachment: Attachment, choice: Choice) -> dict[str, Any]:
    source, rows = read_table(attachment)
    names, found, columns = source.header.names, FileTotals(), {}
    notes: list[str] = []
    if rows:
        with step(PROFILE, unit=ROWS) as profiling:
            profiling.update(0, total=rows)
            profiles = profile_table(source, RaggedRows(width=len(names)), profiling.update)
        places = find_columns(profiles, choice)
        columns = {"date": names[places.date], "amount": names[places.amount]}
        if places.group is not None:
            columns["group"] = names[places.group]
        notes = [note for place in (places.date, places.amount) for note in profiles[place].notes]
        with step(ADD_UP, unit=ROWS) as adding:
            adding.update(0, total=rows)
            verdicts = [profile.verdict for profile in profiles]
            group = PurePosixPath(attachment.name).stem or attachment.name
            found = add_up(source, places, verdicts, group, adding.update)
    else:
        notes = [_("The file has no rows.")]
    _tell(columns, notes, found)
    with attachment.file.storage.open(str(attachment.file.name), "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "file": attachment.name,
        "digest": digest,
        "rows": rows,
        "columns": columns,
        "totals": found.totals.to_json(),
        "left_out": found.left_out,
        "left_out_rows": [list(example) for example in found.examples],
        "notes": notes,
    }


def _tell(columns: Mapping[str, str], notes: list[str], found: FileTotals) -> None:
    if columns:
        log(_("The date is in the column “%s”, the amount in “%s”."), columns["date"], columns["amount"])
    if "group" in columns:
        log(_("The orders are grouped by the column “%s”."), columns["group"])
    for note in notes:
        log(note, level=logging.WARNING)
    for line, reason in found.examples:
        log(_("Line %d is left out: %s"), line, reason, level=logging.WARNING)
    more = found.left_out - len(found.examples)
    if more:
        log(_left_out(more), more, level=logging.WARNING)


def _left_out(count: int) -> str:
    return ngettext("%d row is left out", "%d rows are left out", count)


def _summary(totals: Totals, merged: Mapping[str, Any]) -> dict[str, Any]:
    months, groups = totals.by(0), totals.by(1)
    ranked = sorted(groups.items(), key=lambda item: -item[1][1])
    orders, total = totals.whole
    return {
        "files": len(merged["files"]),
        "rows": merged["rows"],
        "left_out": merged["left_out"],
        "orders": orders,
        "total": float(total),
        "months": _shown(list(months.items())[-_MOST_SHOWN:]),
        "groups": _shown(ranked[:_MOST_SHOWN]),
        "groups_left_out": max(0, len(ranked) - _MOST_SHOWN),
    }


def _shown(cells: list[tuple[str, tuple[int, Any]]]) -> list[dict[str, Any]]:
    return [{"name": name, "orders": count, "total": float(amount)} for name, (count, amount) in cells]
