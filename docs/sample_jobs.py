"""Jobs as a shop has them, for the screenshots; each stays where the picture wants it."""

import random
import time

from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded

from status.progress import attach, log, plan, step, track

DICE = random.Random(5)  # noqa: S311


@shared_task
def import_orders(count):
    """Ends well, with a link and a file."""
    with step("Read file", unit="bytes") as reading:
        reading.update(184_320, total=184_320)
    for number in track(range(count), "Import", unit="orders", weight=9):
        if number % 97 == 50:
            log("Order %d has no postcode and was kept for review", 10_400 + number, level=30)
        time.sleep(0.002)
    log("%d orders imported", count)
    attach("for-review.csv", "order,reason\n10450,no postcode\n")
    return {"url": "/", "label": "See the orders"}


@shared_task
def resize_photos(count, stop_at):
    """Counts quickly up to `stop_at`, then ever slower, so that it runs for as long as it is looked at."""
    plan({"Fetch from storage": 2, "Resize": 6, "Upload": 2})
    for _ in track(range(count), "Fetch from storage", unit="photos"):
        time.sleep(0.001)
    for number in track(range(count), "Resize", unit="photos"):
        if number % 150 == 149:
            log("Folder spring/%02d done", number // 150 + 1)
        time.sleep(0.005 if number < stop_at else 0.5)


@shared_task
def send_newsletter():
    """Does not know how many there are."""
    sent = step("Send", unit="letters")
    for _ in range(3_000):
        sent.advance(DICE.randint(1, 9))
        time.sleep(0.2)


@shared_task(bind=True, max_retries=9)
def sync_stock(self):
    """Waits for its next attempt."""
    with step("Compare stock", unit="articles") as comparing:
        for number in range(401):
            comparing.update(number, total=1200)
            time.sleep(0.001)
        raise self.retry(exc=ConnectionError("The warehouse does not answer (503)"), countdown=290)


@shared_task
def rebuild_index(count):
    """Fails halfway."""
    plan({"Collect": 1, "Index": 8, "Switch over": 1})
    with step("Collect"):
        log("%d documents to index", count)
    for number in track(range(count), "Index", unit="documents"):
        if number == count * 3 // 5:
            raise ValueError("Document 7,201: the field “price” holds “on request”, which is no number.")
        time.sleep(0.0001)


@shared_task
def export_ledger():
    """Runs until it is cancelled."""
    for number in track(range(52), "Export", unit="weeks"):
        time.sleep(0.1 if number < 20 else 1)


@shared_task
def train_forecast():
    """Reports nothing for a long time, and so is slow to notice that it was cancelled."""
    with step("Train", unit="epochs") as training:
        training.update(3, total=40)
        time.sleep(600)


@shared_task(soft_time_limit=1)
def crawl_competitors():
    """Takes too long."""
    try:
        for _ in track(range(900), "Crawl", unit="pages"):
            time.sleep(0.01)
    except SoftTimeLimitExceeded:
        log("Stopped by the time limit", level=40)
        raise


@shared_task
def deep_work():
    """Steps inside steps, many of them, with names that are long."""
    names = [f"Region {number}: recompute the delivery estimates of all parcels" for number in range(1, 9)]
    plan(dict.fromkeys(names, 1.0))
    for name in names[:4]:
        with step(name):
            for _ in track(range(50), "Parcels", unit="parcels"):
                time.sleep(0.002)
    with step(names[4]):
        for number in track(range(5_000), "Parcels with several stops", unit="parcels"):
            log("Parcel %d: %s", number, "a line that goes on and on, " * (1 + number % 4))
            time.sleep(0.02 if number < 20 else 0.5)
