"""Publishes events of many jobs straight to the channel layer's groups, as the reporters of many workers would.

`python -m benchmarks.publish RATE SECONDS` with the ids of the jobs on stdin: each gets `RATE` events a second,
evenly spread.
"""

import sys
import time
from datetime import UTC, datetime
from uuid import UUID

import django
import redis
from django.conf import settings

STEPS_A_SECOND = 50


def main(rate: float, seconds: float, ids: list[str]) -> None:
    """Publish in small batches."""
    django.setup()
    from channels_redis.pubsub import RedisPubSubChannelLayer

    from status import channel
    from status.events import JobEvent, Step
    from status.states import State

    layer = RedisPubSubChannelLayer(hosts=[settings.REDIS_URL])
    client = redis.Redis.from_url(settings.REDIS_URL)
    began = datetime.now(UTC)
    jobs = [UUID(text) for text in ids]
    groups = [f"asgi__group__{channel.job_group(job)}" for job in jobs]
    total = round(rate * seconds)

    def message(job: UUID, number: int) -> bytes:
        step = Step(
            name="Import",
            state="running",
            current=number,
            total=total,
            unit=f"{time.time():.6f}",
            seconds=number / rate,
        )
        event = JobEvent(
            job=job,
            attempt=1,
            seq=number,
            state=State.RUNNING,
            steps=(step,),
            progress=number / total,
            rate=rate,
            worker="bench",
            started_at=began,
        )
        return layer.serialize(event.to_wire())

    slots = max(round(STEPS_A_SECOND / rate), 1)
    due = time.monotonic()
    for tick in range(total * slots):
        pipe = client.pipeline(transaction=False)
        for index in range(tick % slots, len(jobs), slots):
            pipe.publish(groups[index], message(jobs[index], tick // slots + 1))
        pipe.execute()
        due += 1 / rate / slots
        time.sleep(max(due - time.monotonic(), 0.0))


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]), sys.stdin.read().split())
