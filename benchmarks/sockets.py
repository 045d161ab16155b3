"""What sockets cost that wait: memory for each idle viewer; and 2,000 people that come back at once."""

import urllib.request

from benchmarks.figures import Figure
from benchmarks.stack import Server, Stack, alone
from benchmarks.viewers import Viewers

VIEWERS = 2000


def measure(stack: Stack) -> list[Figure]:
    """One daphne: a few viewers to warm it up, then all, who leave and come back; each is a person of their own."""
    from status.models import Job
    from status.states import State

    job = Job.objects.create(task="bench", title="Idle", owner=stack.user, state=State.RUNNING)
    with stack.web() as server:
        # Counts from here on, on connections made after it.
        _queries(server)
        everybody = stack.cards(server, job, VIEWERS)
        with Viewers(everybody, 20):
            pass
        empty = server.memory_bytes()
        with Viewers(everybody, VIEWERS):
            each = (server.memory_bytes() - empty) / VIEWERS
        queries, cpu = _queries(server), server.cpu_seconds()
        with Viewers(everybody, VIEWERS, together=VIEWERS) as again:
            seconds, found = again.seconds, again.report()
        cpu = (server.cpu_seconds() - cpu) / VIEWERS
        asked = (_queries(server) - queries) / VIEWERS
    right = found["ready"] - sum(found["closed"].values())
    return [
        Figure(
            name="memory of an idle viewer, daphne",
            measured=f"{each / 1000:.0f} KB",
            bound="≤ 30 KB",
            holds=each <= 30_000,
            limit="the dictionaries of Autobahn's protocol and Twisted's transport, 4 KB; the scope with its headers, "
            "2 KB; coroutines and the consumer, 2 KB; what is in Python's arenas and not used (tracemalloc)",
        ),
        Figure(
            name=f"{VIEWERS:,} viewers reconnecting at once, daphne",
            measured=f"{right:,} right after {seconds:.1f} s, {asked:.2f} queries and "
            f"{cpu * 1000:.1f} ms of processor time each",
            bound="all within 10 s, ≤ 2 queries each",
            holds=right == VIEWERS and seconds <= 10 and asked <= 2,
            limit="the handshake by Twisted and Autobahn; sessions are read together, users are not (py-spy)",
        ),
    ]


def _queries(server: Server) -> int:
    with urllib.request.urlopen(f"{server.url}/queries/") as answer:
        return int(answer.read())


if __name__ == "__main__":
    alone(measure)
