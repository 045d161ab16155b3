"""The jobs of the demo."""

import logging
from collections.abc import Iterable
from typing import Any, BinaryIO, cast

from celery import shared_task
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from demo.bad_csv import refuse_size
from demo.csv_profile import profile_table
from demo.csv_source import CSVSource
from demo.forms import ProfileCSVForm
from demo.profile_report import ProfileReport, profile_json, summary
from demo.profile_tables import columns_csv, ragged_csv
from demo.profile_warnings import profile_warnings, source_warnings
from demo.ragged_rows import RaggedRows
from status.models import Attachment
from status.progress import attach, log, plan, step
from status.registry import startable

READ = gettext_lazy("Read")
PROFILE = gettext_lazy("Profile")
WRITE_REPORT = gettext_lazy("Write report")
ROWS = pgettext_lazy("after a number", "rows")


@startable(
    form=ProfileCSVForm,
    name="profile-csv",
    title=gettext_lazy("Profile a CSV"),
    description=gettext_lazy(
        "Tells for each column of a CSV file its type, missing and distinct values, range, mean and"
        " most frequent values."
    ),
    result_template="demo/profile_result.html",
)
@shared_task
def profile_csv(file: str) -> dict[str, Any]:
    """Profile the columns of a CSV file of any encoding, delimiter and length up to 200 MB.

    Attaches `profile.json`, `profile.csv` and, if there are ragged rows, `ragged.csv`.

    Args:
        file: the id of the attachment that holds it.

    Returns:
        What `demo/profile_result.html` shows; see `profile_report.summary`.

    Raises:
        BadCSV: it cannot be profiled; the message tells the user why.

    Example:
        >>> profile_csv(str(attachment.pk))["rows"]
        1000000
    """
    plan({READ: 1, PROFILE: 8, WRITE_REPORT: 1})
    attachment = Attachment.objects.get(pk=file)
    source, rows = read_table(attachment)
    warnings = list(source_warnings(source))
    _warn(warnings)
    ragged = RaggedRows(width=len(source.header.names))
    with step(PROFILE) as profiling:
        profiling.update(0, total=rows, unit=ROWS)
        columns = profile_table(source, ragged, profiling.update)
    with step(WRITE_REPORT):
        found = list(profile_warnings(columns, ragged))
        _warn(found)
        report = ProfileReport(
            name=attachment.name,
            size=attachment.size,
            source=source,
            rows=rows,
            columns=columns,
            ragged=ragged,
            warnings=warnings + found,
        )
        _attach(report)
    return summary(report)


def read_table(attachment: Attachment) -> tuple[CSVSource, int]:
    """How to read a CSV file, and how many rows it has; the step *Read* of a job.

    Raises:
        BadCSV: it cannot be read to its end.

    Example:
        >>> source, rows = read_table(attachment)
    """
    with step(READ) as reading:
        reading.update(0, total=attachment.size, unit="bytes")
        refuse_size(attachment.size)
        stored = attachment.file
        # Opened by the storage and not by the field, which would hand out the same file each time.
        source = CSVSource.detect(lambda: cast(BinaryIO, stored.storage.open(str(stored.name), "rb")))
        rows = source.count_rows(reading.update)
    columns = len(source.header.names)
    log(
        _("%s in %s; encoding %s, delimiter %s"),
        ngettext("%d row", "%d rows", rows) % rows,
        ngettext("%d column", "%d columns", columns) % columns,
        *(source.encoding.label, source.dialect.delimiter_label),
    )
    return source, rows


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        log(warning, level=logging.WARNING)


def _attach(report: ProfileReport) -> None:
    attach("profile.json", profile_json(report))
    attach("profile.csv", columns_csv(report.columns))
    if report.ragged.count:
        attach("ragged.csv", ragged_csv(report.ragged, report.source.header.names))
