"""What a web process of greenlets does: broadcasts from many at once; run as a module of its own."""

from gevent import monkey

monkey.patch_all()

import django  # noqa: E402

django.setup()

import gevent  # noqa: E402

from status import channel  # noqa: E402
from status.broadcast import broadcast  # noqa: E402
from status.models import Topic  # noqa: E402


def twice(number: int) -> int:
    """Broadcast two values of a topic, and return the version it has then."""
    broadcast(f"topic-{number}", {"number": number})
    gevent.sleep(0.01)
    broadcast(f"topic-{number}", {"number": number + 1})
    return Topic.objects.get(pk=f"topic-{number}").version


if __name__ == "__main__":
    greenlets = [gevent.spawn(twice, number) for number in range(20)]
    gevent.joinall(greenlets, raise_error=True)
    assert [greenlet.value for greenlet in greenlets] == [2] * 20
    assert channel.flush(10)
    print("all published")  # noqa: T201
