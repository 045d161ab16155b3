"""Over HTTP: the frame that a page polls beside celery-progress's view, and the first paint of pages."""

import asyncio
import statistics
import time
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from benchmarks.figures import Figure
from benchmarks.stack import Server, Stack, alone

CONNECTIONS = 4
SECONDS = 4.0
PAINTS = 25
REST_SECONDS = 4.0


def measure(stack: Stack) -> list[Figure]:
    """A running job with a few steps; the list has a full page of jobs."""
    from celery.app.task import Context
    from celery.result import AsyncResult

    from status.events import Step
    from status.models import Job
    from status.states import State

    steps = [
        Step(name=name, state="running", current=40, total=100, unit="rows") for name in ("Read", "Import")
    ]
    columns = {"owner": stack.user, "state": State.RUNNING, "steps": [step.to_wire() for step in steps]}
    jobs = Job.objects.bulk_create([Job(task="bench", title=f"Job {n}", **columns) for n in range(60)])
    task_id = str(uuid4())
    recorder = AsyncResult(task_id)
    meta = {"pending": False, "current": 40, "total": 100, "percent": 40.0, "description": "Import"}
    recorder.backend.store_result(task_id, meta, "PROGRESS", request=Context(task="bench", id=task_id))
    view = stack.socket_path("{% live job %}", job=jobs[0]).partition("view=")[2]
    paints = Paints(stack, jobs[0].get_absolute_url(), "/jobs/")
    with stack.web() as server:
        theirs, ours = [], []
        for _ in range(2):
            theirs.append(_polled(server, f"/celery-progress/{task_id}/", stack.cookie(), b"PROGRESS"))
            paints.measure()
            path = f"/jobs/frame/?{urlencode({'view': view})}"
            ours.append(_polled(server, path, stack.cookie(), b"<progress"))
            paints.measure()
    (rate, cpu), (peer, peer_cpu) = (
        map(statistics.median, zip(*each, strict=True)) for each in (ours, theirs)
    )
    job_page, list_page = paints.medians()
    return [
        Figure(
            name="poll fallback, requests a second, daphne",
            measured=f"{rate:.0f}/s of {cpu:.1f} ms processor time, celery-progress's view {peer:.0f}/s of "
            f"{peer_cpu:.1f} ms: {rate / peer:.1f}×",
            bound="≥ 2×",
            holds=rate >= 2 * peer,
            limit="half is daphne's loop and Twisted; of the rest two fifths are the session and the user, one third "
            "the view, the others the middleware (py-spy). Within a tenth of a second who asks for the same shares its "
            "rows and its rendering; no answer is a 304, since each brings a new heartbeat element",
        ),
        Figure(
            name="first paint of a job's page, server time",
            measured=f"{job_page:.1f} ms",
            bound="≤ 15 ms",
            holds=job_page <= 15,
            limit="half is rendering some twenty templates; a quarter is Django's own: session, user and permissions "
            "in four queries (cProfile)",
        ),
        Figure(
            name="first paint of the list of 25, server time",
            measured=f"{list_page:.1f} ms",
            bound="≤ 25 ms",
            holds=list_page <= 25,
            limit="half is rendering, most of it 25 rows of four templates each; a sixth is Django's own: session, "
            "user and permissions (cProfile)",
        ),
    ]


def _polled(server: Server, path: str, cookie: str, expected: bytes) -> tuple[float, float]:
    """Requests a second, and the milliseconds of the server's processor time that each takes."""
    cpu = server.cpu_seconds()
    rate = _requests(server, path, cookie, expected)
    return rate, (server.cpu_seconds() - cpu) / (rate * SECONDS) * 1000


def _requests(server: Server, path: str, cookie: str, expected: bytes) -> float:
    """How many requests a second the server answers on a few connections that are kept open."""
    host = urlsplit(server.url).netloc
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *([f"Cookie: {cookie}"] if cookie else [])]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    return asyncio.run(_ask(server.port, request, expected))


async def _ask(port: int, request: bytes, expected: bytes) -> float:
    answers = 0
    end = time.perf_counter() + SECONDS

    async def ask() -> None:
        nonlocal answers
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            writer.write(request)
            body = await _answer(reader)
            assert expected in body, body
            answers += 1
        writer.close()

    await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
    return answers / SECONDS


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    headers = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if line)
    if b"content-length" in headers:
        return await reader.readexactly(int(headers[b"content-length"]))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size + 2)
    await reader.readline()
    return body


class Paints:
    """Milliseconds from request to response, all middleware included, without a network; the pages in turn.

    Measured in rounds between others, for the machine is slower for half a minute now and then.
    """

    def __init__(self, stack: Stack, *paths: str) -> None:
        from django.test import Client

        import config.asgi  # noqa: F401  # Sets the garbage collector as it is where pages are served.

        self._client = Client()
        self._client.force_login(stack.user)
        self._took: dict[str, list[float]] = {path: [] for path in paths}
        self._paint()

    def measure(self) -> None:
        """A round of each page, after a rest: right after both cores were busy, this machine is slower by half."""
        time.sleep(REST_SECONDS)
        for _ in range(PAINTS):
            for path, took in self._paint().items():
                self._took[path].append(took)

    def _paint(self) -> dict[str, float]:
        found = {}
        for path in self._took:
            began = time.perf_counter()
            response = self._client.get(path)
            found[path] = (time.perf_counter() - began) * 1000
            assert response.status_code == 200, response
        return found

    def medians(self) -> list[float]:
        """Of each page."""
        return [statistics.median(took) for took in self._took.values()]


if __name__ == "__main__":
    alone(measure)
