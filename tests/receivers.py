"""Those who are told outside of this site: an HTTP receiver and a mail server, in threads of the tests."""

import email
import email.policy
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = int | Callable[[BaseHTTPRequestHandler], None]


class Receiver(ThreadingHTTPServer):
    """An HTTP server that keeps what it is sent and answers as it is told: a status each, then 204."""

    daemon_threads = True

    def __init__(self, answers: list[Answer]) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), _Post)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?a=1"


class _Post(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, text))
        answer = self.server.answers.pop(0) if self.server.answers else 204
        if callable(answer):
            return answer(self)
        self.send_response(answer)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *args: Any) -> None:
        """Nothing on the screen."""


def redirect_to(url: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", url)
        request.end_headers()

    return answer


def later(when: str) -> Answer:
    """Too many requests; come again then."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(429)
        request.send_header("Retry-After", when)
        request.end_headers()

    return answer


def hang(released: threading.Event) -> Answer:
    """No answer at all."""
    return lambda request: released.wait(60) and None


def drip(released: threading.Event) -> Answer:
    """An answer that never ends, each byte in time."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        try:
            request.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not released.wait(0.05):
                request.wfile.write(b"X")
        except OSError:
            pass

    return answer


@contextmanager
def receiver(*answers: Answer) -> Iterator[Receiver]:
    """A receiver that is there for a while."""
    with Receiver(list(answers)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@dataclass
class MailServer:
    """An SMTP server that keeps what it takes. `at` says what it answers at a command instead, once each."""

    port: int = 0
    letters: list[Any] = field(default_factory=list)
    at: dict[str, list[str]] = field(default_factory=dict)
    """Answers by command; `hang up` closes the connection instead."""
    seen: list[str] = field(default_factory=list)


@contextmanager
def mail_server(**at: list[str]) -> Iterator[MailServer]:
    """A mail server that is there for a while; `DATA=["451 later"]`, `END=["hang up"]` after the letter."""
    state = MailServer(at=at)

    class Talk(socketserver.StreamRequestHandler):
        def say(self, command: str, otherwise: str) -> bool:
            planned = state.at.get(command)
            answer = planned.pop(0) if planned else otherwise
            if answer != "hang up":
                self.wfile.write(f"{answer}\r\n".encode())
            return answer != "hang up"

        def handle(self) -> None:
            if not self.say("CONNECT", "220 tests"):
                return
            while line := self.rfile.readline():
                command = line.decode().split()[0].upper()
                state.seen.append(command)
                if not self.say(command, {"DATA": "354 go on", "QUIT": "221 bye"}.get(command, "250 ok")):
                    return
                if command == "DATA" and not self.take():
                    return

        def take(self) -> bool:
            lines = []
            while (line := self.rfile.readline()) not in {b".\r\n", b""}:
                if line == b"RSET\r\n" and not lines:
                    return self.say("RSET", "250 ok")
                lines.append(line)
            state.letters.append(email.message_from_bytes(b"".join(lines), policy=email.policy.default))
            return self.say("END", "250 taken")

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True

    with Server(("127.0.0.1", 0), Talk) as server:
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield state
        server.shutdown()
        thread.join()
