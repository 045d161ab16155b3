"""Takes the screenshots: `python -m docs.screenshots`.

Starts the real thing on a free port, gives it work, and looks at it in Chromium. Without an option it writes the
README's pictures; `--all DIR` writes every page, light and dark, at the width of a desk and of a phone.
"""

import argparse
import io
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks.stack import Server, Stack
from tests import chromium

IMAGES = Path(__file__).with_name("images")
SCHEMES = ("light", "dark")
SIZES = {1280: 860, 390: 844}
QUEUE = "shop"
SEEDED = 3_000
CSV_FORM = "/jobs/new/profile-csv/"


def orders_csv(rows: int, times: int = 1) -> bytes:
    """A shop's orders, with the faults that such files have; always the same, and so often in a row."""
    dice = random.Random(2026)  # noqa: S311
    text = io.StringIO()
    for number in range(rows):
        placed = date(2026, 5, 1) + timedelta(minutes=number * 44_000 // rows)
        country = dice.choice(["DE", "DE", "DE", "AT", "CH", "NL", "FR", ""])
        total = f"{dice.lognormvariate(4, 0.7):.2f}".replace(".", ",")
        paid = dice.choice(["yes", "yes", "yes", "no"])
        text.write(
            f"{100_000 + number};{placed};C{dice.randrange(9000):04};{country};{dice.randint(1, 12)};{total};{paid}"
        )
        text.write(";gift\n" if number % 40_000 == 39_999 else "\n")
    return f"order;placed;customer;country;articles;total;paid\n{text.getvalue() * times}".encode()


class Shop:
    """The people and the jobs that the pictures show."""

    def __init__(self, stack: Stack, web: Server) -> None:
        from django.contrib.auth import get_user_model

        from tests.processes import start_worker

        users = get_user_model().objects
        self.web = web
        self.staff = users.create_superuser("demo", password="demo")  # noqa: S106
        self.newcomer = users.create_user("nora")
        self.worker = start_worker(
            stack.folder / "shop.log",
            "-c",
            "8",
            "-I",
            "docs.sample_jobs",
            queues=f"default,{QUEUE}",
            name="shop",
        )

    def start(self, name: str, *args: Any, title: str, queue: str = QUEUE) -> Any:
        """Start one of the sample jobs."""
        from docs import sample_jobs
        from status.jobs import start

        return start(getattr(sample_jobs, name).s(*args).set(queue=queue), owner=self.staff, title=title)

    def upload(self, name: str, content: bytes) -> Any:
        """Profile a CSV, sent through its form."""
        from django.core.files.uploadedfile import SimpleUploadedFile
        from django.test import Client

        from status.models import Job

        client = Client()
        client.force_login(self.staff)
        answer = client.post(CSV_FORM, {"file": SimpleUploadedFile(name, content)})
        return Job.objects.get(pk=answer["Location"].strip("/").rpartition("/")[2])

    def stop(self) -> None:
        """End the worker at once; some of its jobs would run for hours."""
        self.worker.kill()


def wait_for(job: Any, done: Callable[[Any], bool], seconds: float = 240.0) -> Any:
    """Look at the row until `done` says so."""
    from tests.processes import wait_until

    def look() -> bool:
        job.refresh_from_db()
        return done(job)

    wait_until(look, seconds, f"{job.title}, which is {job.state}")
    return job


def move_back(job: Any, minutes: float) -> None:
    """Let an ended job have happened earlier."""
    from django.db.models import F

    earlier = timedelta(minutes=minutes)
    type(job).objects.filter(pk=job.pk).update(
        **{name: F(name) - earlier for name in ("created_at", "started_at", "finished_at")}
    )


def fill(shop: Shop) -> dict[str, Any]:
    """A job in each state; some of them go on for as long as somebody looks."""
    from status.jobs import cancel

    jobs = {
        "failed": shop.start("rebuild_index", 12_000, title="Rebuild the search index"),
        "succeeded": shop.start("import_orders", 480, title="Import orders of April"),
        "timeout": shop.start("crawl_competitors", title="Compare prices"),
        "waiting": shop.start("sync_stock", title="Synchronise stock"),
        "cancelled": shop.start("export_ledger", title="Export the ledger"),
        "profiled": shop.upload("orders-2026-04.csv", orders_csv(90_000)),
        "refused": shop.upload("prices.csv", orders_csv(40_000) + bytes(50)),
    }
    wait_for(jobs["cancelled"], lambda job: (job.percent or 0) > 20)
    cancel(jobs["cancelled"])
    for number, name in enumerate(("cancelled", "timeout", "failed", "succeeded", "profiled", "refused")):
        move_back(wait_for(jobs[name], lambda job: not job.is_live), 60 - 7 * number)
    jobs |= {
        "cancelling": shop.start("train_forecast", title="Train the sales forecast"),
        "queued": shop.start("export_ledger", title="Export the ledger", queue="night"),
        "steps": shop.start("deep_work", title="Recompute all delivery estimates after the new tariff"),
        "unknown": shop.start("send_newsletter", title="Send the newsletter"),
        "running": shop.start("resize_photos", 1_200, 700, title="Resize product photos"),
    }
    wait_for(jobs["cancelling"], lambda job: job.state == "running" and job.progress)
    cancel(jobs["cancelling"])
    wait_for(jobs["waiting"], lambda job: job.state == "waiting")
    wait_for(jobs["running"], lambda job: (job.percent or 0) >= 50)
    wait_for(jobs["steps"], lambda job: job.line_count > 20)
    return jobs


class Camera:
    """Opens pages as somebody, in one scheme and size, and takes their pictures."""

    def __init__(self, browser: Browser, shop: Shop, scheme: str, width: int, folder: Path) -> None:
        self.browser = browser
        self.shop = shop
        self.scheme = scheme
        self.width = width
        self.folder = folder

    @contextmanager
    def page(self, path: str, user: Any = None) -> Iterator[Page]:
        """The page at `path`, once its socket, if it has one, brought its first frame."""
        context = self.browser.new_context(
            base_url=self.shop.web.url,
            color_scheme=self.scheme,
            viewport={"width": self.width, "height": SIZES[self.width]},
            device_scale_factor=2,
            reduced_motion="reduce",
        )
        if user is not None:
            context.add_cookies([self._session(user)])
        page = context.new_page()
        frames: list[object] = []
        page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(frame)))
        page.goto(path)
        if page.locator("[ws-connect]").count():
            for _ in range(100):
                page.wait_for_timeout(50)
                if frames:
                    break
        yield page
        context.close()

    def shoot(self, page: Page, name: str, *, whole: bool = True) -> None:
        """Write the picture of `page` as it is."""
        path = self.folder / f"{name}-{self.width}-{self.scheme}.png"
        page.screenshot(path=path, full_page=whole)
        sys.stdout.write(f"{path}\n")

    def take(self, name: str, path: str, user: Any = None) -> None:
        """Open a page and write its picture."""
        with self.page(path, user) as page:
            self.shoot(page, name)

    def _session(self, user: Any) -> Any:
        from django.test import Client

        client = Client()
        client.force_login(user)
        value = client.cookies["sessionid"].value
        return {"name": "sessionid", "value": value, "url": self.shop.web.url}


def take_all(camera: Camera, jobs: dict[str, Any]) -> None:
    """Every page in every state."""
    staff = camera.shop.staff
    camera.take("jobs", "/", staff)
    camera.take("jobs-none", "/", camera.shop.newcomer)
    for name, job in jobs.items():
        camera.take(f"job-{name}", job.get_absolute_url(), staff)
    camera.take("startables", "/jobs/new/", staff)
    camera.take("start", CSV_FORM, staff)
    camera.take("start-again", f"{CSV_FORM}?again={jobs['profiled'].pk}", staff)
    camera.take("login", "/login/")
    camera.take("site-status", "/status/")
    camera.take("not-found", "/jobs/new/nothing/", staff)
    with camera.page(CSV_FORM, staff) as page:
        file = {"name": "book.xlsx", "mimeType": "text/csv", "buffer": b"PK\x03\x04" + bytes(500)}
        page.locator("input[name=file]").set_input_files(files=[file])
        page.locator("main form button").click()
        expect(page.locator("[aria-invalid=true]")).to_be_visible()
        camera.shoot(page, "start-refused")
    with camera.page("/login/") as page:
        page.get_by_label("Username").fill("demo")
        page.get_by_label("Password").fill("wrong")
        page.locator("main form button").click()
        expect(page.locator("main [role=alert]").first).to_be_attached()
        camera.shoot(page, "login-refused")
    with camera.page(jobs["failed"].get_absolute_url(), staff) as page:
        page.get_by_text("Traceback").first.click()
        camera.shoot(page, "job-failed-traceback")
    with camera.page("/", staff) as page:
        camera.shop.start("export_ledger", title="Export the ledger", queue="night").delete()
        new = camera.shop.start("export_ledger", title="Export the ledger", queue="night")
        expect(page.locator(".new-jobs")).to_be_visible()
        camera.shoot(page, "jobs-new", whole=False)
        new.delete()


def take_lost(cameras: list[Camera], job: Any) -> None:
    """What pages say whose web server is gone; the last pictures of all."""
    with ExitStack() as open_pages:
        staff = cameras[0].shop.staff
        pages = [open_pages.enter_context(camera.page(job.get_absolute_url(), staff)) for camera in cameras]
        cameras[0].shop.web.process.kill()
        for camera, page in zip(cameras, pages, strict=True):
            # No heartbeat for 25 seconds.
            expect(page.locator("#live-beat .toast")).to_be_visible(timeout=60_000)
            camera.shoot(page, "job-connection-lost", whole=False)


def take_readme(browser: Browser, shop: Shop) -> None:
    """One job under way, and the list with a history; light and dark."""
    from django.core.management import call_command

    call_command("seed_jobs", SEEDED, verbosity=0)
    job = shop.upload("orders-2026-05.csv", orders_csv(100_000, times=36))
    wait_for(job, lambda job: (job.percent or 0) >= 30)
    for scheme in SCHEMES:
        camera = Camera(browser, shop, scheme, 1280, IMAGES)
        for name, path in (("job", job.get_absolute_url()), ("jobs", "/jobs/")):
            with camera.page(path, shop.staff) as page:
                write_small(page.screenshot(), IMAGES / f"{name}-{scheme}.png")
    job.refresh_from_db()
    assert job.is_live, "The job had ended before its picture was taken: give it more rows."


def write_small(picture: bytes, path: Path) -> None:
    """Write a screenshot with a palette of 256 colours, a third as large."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    sys.stdout.write(f"{path}, {path.stat().st_size // 1000} KB\n")


def main() -> None:
    """Start, fill, look, stop."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", type=Path, metavar="DIR", help="every page, light and dark, wide and narrow")
    folder = parser.parse_args().all
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with Stack() as stack, stack.web() as web, sync_playwright() as playwright:
        shop = Shop(stack, web)
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"])
        try:
            if folder is None:
                take_readme(browser, shop)
                return
            folder.mkdir(parents=True, exist_ok=True)
            jobs = fill(shop)
            cameras = [Camera(browser, shop, scheme, width, folder) for scheme in SCHEMES for width in SIZES]
            for camera in cameras:
                take_all(camera, jobs)
            take_lost(cameras, jobs["running"])
        finally:
            shop.stop()
            browser.close()


if __name__ == "__main__":
    main()
