"""The farm's HTTP server.

POST   /renders               {"frames": 240, "behaviour": "good", "key": "…"} -> {"id": …, "done": 0, …}
GET    /renders/<id>          {"done": 120, "frames": 240, "finished": false, "url": ""}
DELETE /renders/<id>          the same, cancelled
GET    /renders/<id>/picture  what was rendered, as SVG
"""

import json
import logging
import re
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from demo.farm.renders import BEHAVIOURS, Render, Renders

logger = logging.getLogger(__name__)

MOST_FRAMES = 500
MOST_BODY_BYTES = 10_000
SLOW_SECONDS = 3.0
FAULTS = ("fails", "refuses")


class Farm(ThreadingHTTPServer):
    """Listens on the loopback and keeps its renders in memory."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        """Port 0 takes any that is free."""
        self.renders = Renders()
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Farm
    timeout = 10

    def do_POST(self) -> None:
        """Take a render."""
        if self.path != "/renders":
            return self._refuse(HTTPStatus.NOT_FOUND, "there are only renders here")
        try:
            asked = self._body()
            frames, behaviour = int(asked["frames"]), str(asked.get("behaviour", "good"))
            if not 0 < frames <= MOST_FRAMES or behaviour not in BEHAVIOURS:
                raise ValueError(f"frames from 1 to {MOST_FRAMES}, and one of {', '.join(BEHAVIOURS)}")
        except (KeyError, TypeError, ValueError) as error:
            return self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        render = self.server.renders.submit(frames, behaviour, str(asked.get("key", "")))
        logger.info("render %s: %d frames, %s", render.id, frames, behaviour)
        self._tell(render, HTTPStatus.CREATED)

    def do_GET(self) -> None:
        """Say how far a render is, or show it."""
        render = self._render()
        if render is None:
            return
        if self.path.endswith("/picture"):
            return self._answer(HTTPStatus.OK, "image/svg+xml", picture(render).encode())
        render.looks += 1
        if not self._misbehaves(render):
            self._tell(render)

    def do_DELETE(self) -> None:
        """Cancel a render."""
        render = self._render()
        if render is not None:
            render.cancels += 1
            logger.info("render %s: cancelled at frame %d", render.id, render.done)
            self._tell(render)

    def _render(self) -> Render | None:
        found = re.fullmatch(r"/renders/([0-9a-f]{32})(/picture)?", self.path)
        render = self.server.renders.get(found[1]) if found else None
        if render is None or render.is_forgotten:
            self._refuse(HTTPStatus.NOT_FOUND, "no such render")
            return None
        return render

    def _misbehaves(self, render: Render) -> bool:
        """Do what the render's behaviour asks for; whether that was the answer."""
        fault = render.behaviour
        if fault == "slow":
            time.sleep(SLOW_SECONDS)
        if fault == "flaky" and render.looks % 2:
            fault = FAULTS[render.looks // 2 % len(FAULTS)]
        if fault == "fails":
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "the farm stumbled")
        elif fault == "refuses":
            self.close_connection = True
            self.connection.close()
        return fault in FAULTS

    def _body(self) -> Any:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= MOST_BODY_BYTES:
            raise ValueError("the body is missing or too long")
        return json.loads(self.rfile.read(length))

    def _tell(self, render: Render, status: HTTPStatus = HTTPStatus.OK) -> None:
        state = render.state(f"{self.server.url}/renders/{render.id}")
        self._answer(status, "application/json", json.dumps(state).encode())

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._answer(status, "application/json", json.dumps({"error": reason}).encode())

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # The name in the base class.
        """Nothing: a line for each poll would be too much."""


def picture(render: Render) -> str:
    """The frames that are ready, as a contact sheet."""
    columns, size = 25, 20
    rows = -(-render.frames // columns)
    cells = "".join(
        f'<rect x="{frame % columns * size}" y="{frame // columns * size}" width="{size - 2}"'
        f' height="{size - 2}" fill="hsl({frame * 360 // render.frames} 70% 55%)"/>'
        for frame in range(render.done)
    )
    width, height = columns * size, rows * size
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{cells}</svg>'
