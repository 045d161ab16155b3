import asyncio
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context
from pathlib import Path

from celery import chord, shared_task
from celery.utils.log import get_task_logger
from django.core.exceptions import ValidationError
from status.broadcast import broadcast
from status.models import Attachment
from status.progress import JobCancelled, attach, log, plan, step, track
from status.registry import startable

from orders.forms import ImportForm, ImportManyForm

logger = get_task_logger(__name__)
rejected = []


def save(row):
    time.sleep(0.02)


def check_stock(row):
    save(row)


def fetch(row):
    log("fetched %s", row)


def parse(text):
    yield from text.splitlines()


@shared_task
def import_orders(path):
    with step("Read file"):
        rows = Path(path).read_text().splitlines()
    for row in track(rows, "Import", unit="rows", weight=9):
        save(row)
    log("%d orders imported", len(rows))
    return {"url": "/orders/", "label": "See the orders"}


@shared_task
def import_in_steps(path):
    plan({"Read": 1, "Import": 8, "Report": 1})
    with step("Read", unit="bytes") as reading:
        reading.update(0, total=Path(path).stat().st_size)
        text = Path(path).read_text()
        reading.advance(len(text))
    for row in track(parse(text), "Import", unit="rows", total=text.count("\n")):
        save(row)
    with step("Report"):
        attach("rejected.csv", "\n".join(rejected))


@shared_task
def nightly():
    with step("Orders"):
        for row in track(["a", "b"], "Check stock"):
            check_stock(row)


@shared_task
def export(path):
    half_done = Path(path)
    try:
        for row in track(range(100_000), "Export"):
            with half_done.open("a") as file:
                file.write(f"{row}\n")
            time.sleep(0.01)
    except JobCancelled:
        log("Cancelled; nothing is kept")
        raise
    finally:
        half_done.unlink(missing_ok=True)


@shared_task
def fetch_all(rows):
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(copy_context().run, fetch, row) for row in rows]
        for done in track(as_completed(waiting), "Fetch", total=len(rows)):
            done.result()


@shared_task
def fetch_all_async(rows):
    async def work():
        for row in track(rows, "Fetch"):
            await asyncio.to_thread(fetch, row)

    asyncio.run(work())


@shared_task
def tell():
    broadcast("import", {"state": "running"})
    logger.warning("The import runs")


@startable(form=ImportForm, title="Import orders", permission="orders.add_order")
@shared_task
def import_upload(file, skip_paid):
    with Attachment.objects.get(pk=file).file.open("rb") as lines:
        for line in track(lines, "Import", unit="rows"):
            save(line)


@startable(form=ImportManyForm, title="Import many files")
def import_many(files):
    names = Attachment.objects.filter(pk__in=files).values_list("name", flat=True)
    if not any(name.endswith(".csv") for name in names):
        raise ValidationError("Choose at least one CSV file.")
    return chord([import_upload.s(file, skip_paid=True) for file in files], tell.si())
