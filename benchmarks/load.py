"""The load client, a process of its own: opens many sockets and counts what comes.

Started by `benchmarks.viewers`. The first line on stdin is a `Spec` as JSON; after that each line asks for a
report. It answers with JSON lines: one when every socket has had its first frame, then one for each report.
"""

import asyncio
import itertools
import json
import random
import re
import resource
import sys
import time
from array import array
from typing import Any

import picows
import uvloop

STAMP = re.compile(rb"(\d{10}\.\d{6})")
MOST_TRIES = 4
TOGETHER = 64
"""So many handshakes are under way at once."""


class Tally:
    """What all sockets of this process have seen since the last report."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.final = spec["final"].encode()
        self.stamps: bool = spec["stamps"]
        self.open = self.ready = self.refused = self.frames = self.bytes = self.updates = 0
        self.closed: dict[str, int] = {}
        self.delays, self.finals = array("d"), array("d")
        self.all_ready = asyncio.Event()
        self.wanted: int = spec["viewers"]

    def report(self) -> dict[str, Any]:
        """The counts since the last report; `finals` (seconds since 1970) and `closed` are of all time."""
        delays = sorted(self.delays)
        found = {
            "at": time.time(),
            "open": self.open,
            "ready": self.ready,
            "refused": self.refused,
            "frames": self.frames,
            "bytes": self.bytes,
            "updates": self.updates,
            "delays": [round(delays[int(part * (len(delays) - 1) / 1000)], 3) for part in range(1001)]
            if delays
            else [],
            "finals": list(self.finals),
            "closed": self.closed,
        }
        self.frames = self.bytes = self.updates = 0
        self.delays = array("d")
        return found


class Viewer(picows.WSListener):  # type: ignore[misc]
    """One socket."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.has_frame = self.has_final = False
        self.stamp = b""

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Count it; of an update read when it was made, of the last one note when it came."""
        tally = self.tally
        if frame.msg_type == picows.WSMsgType.CLOSE:
            code = str(int(frame.get_close_code().value))
            tally.closed[code] = tally.closed.get(code, 0) + 1
            return
        if frame.msg_type != picows.WSMsgType.TEXT:
            return
        tally.frames += 1
        tally.bytes += frame.payload_size
        if not self.has_frame:
            self.has_frame = True
            tally.ready += 1
            if tally.ready == tally.wanted:
                tally.all_ready.set()
        payload = frame.get_payload_as_bytes()
        if tally.stamps and (found := STAMP.search(payload)) and found[1] != self.stamp:
            self.stamp = found[1]
            tally.updates += 1
            tally.delays.append((time.time() - float(self.stamp)) * 1000)
        if not self.has_final and tally.final in payload:
            self.has_final = True
            tally.finals.append(time.time())

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        """One less."""
        self.tally.open -= 1


async def _open(tally: Tally, url: str, headers: dict[str, str], gate: asyncio.Semaphore) -> None:
    async with gate:
        for tries in itertools.count():
            try:
                await picows.ws_connect(
                    lambda: Viewer(tally), url, extra_headers=headers, websocket_handshake_timeout=60
                )
            except (picows.WSError, OSError) as error:
                if tries == MOST_TRIES:
                    raise
                tally.refused += 1
                sys.stderr.write(
                    f"Refused, tries again as htmx does: {error}\n" if tally.refused == 1 else ""
                )
                await asyncio.sleep(random.random() * 2**tries)
            else:
                tally.open += 1
                return


async def main() -> None:
    """Open the sockets, then answer until stdin is closed."""
    stdin = asyncio.StreamReader(limit=2**26)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    spec = json.loads(await stdin.readline())
    tally, gate = Tally(spec), asyncio.Semaphore(spec.get("together", TOGETHER))
    began = time.perf_counter()
    addresses = itertools.islice(itertools.cycle(spec["addresses"]), spec["viewers"])
    await asyncio.gather(*(_open(tally, url, headers, gate) for url, headers in addresses))
    await tally.all_ready.wait()
    print(json.dumps({"ready": tally.ready, "seconds": time.perf_counter() - began}), flush=True)
    while await stdin.readline():
        print(json.dumps(tally.report()), flush=True)


if __name__ == "__main__":
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(main())
