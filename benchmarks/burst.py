"""A thousand updates at full speed before a hundred viewers: does every one end on the final state, and when?"""

import asyncio
import sys
import time

from benchmarks.figures import Figure
from benchmarks.stack import Stack

UPDATES, VIEWERS = 1000, 100


async def _watch(page: object, ready: asyncio.Semaphore, ends: list[float], frames: list[int]) -> None:
    from websockets.asyncio.client import connect

    async with connect(
        page.web.url.replace("http", "ws") + page.socket_path,
        origin=page.web.url,
        additional_headers={"Cookie": page.cookie},
        proxy=None,
    ) as socket:
        count = 0
        async for frame in socket:
            count += 1
            if count == 1:
                ready.release()
            if 'data-job-state="succeeded"' in frame:
                ends.append(time.time())
                frames.append(count)
                return


async def _run(stack: Stack, job: object, page: object, gate: object) -> tuple[list[float], list[int]]:
    ready, ends, frames = asyncio.Semaphore(0), [], []
    watchers = [asyncio.create_task(_watch(page, ready, ends, frames)) for _ in range(VIEWERS)]
    for _ in watchers:
        await ready.acquire()
    gate.touch()
    await asyncio.wait_for(asyncio.gather(*watchers), 60)
    return ends, frames


def measure(stack: Stack) -> list[Figure]:
    """All viewers are connected before the first update."""
    from status.jobs import start
    from tests import tasks

    gate = stack.folder / "gate"
    job = start(tasks.flood.s(UPDATES, str(gate)), owner=stack.user)
    page = stack.page(job.get_absolute_url())
    ends, _frames = asyncio.run(_run(stack, job, page, gate))
    job.refresh_from_db()
    last = (max(ends) - job.finished_at.timestamp()) * 1000
    return [
        Figure(
            name=f"{UPDATES:,} updates at full speed, {VIEWERS} viewers, daphne",
            measured=f"{len(ends)} of {VIEWERS} end on the final state, the last {last:.0f} ms after it was written",
            bound="all, ≤ 2,000 ms",
            holds=len(ends) == VIEWERS and last <= 2000,
        )
    ]


if __name__ == "__main__":
    with Stack() as running:
        for figure in measure(running):
            sys.stdout.write(f"{figure.name}: {figure.measured}\n")
