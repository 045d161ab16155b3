"""The web server: uploads stay on disk."""

import hashlib
import http.client
import inspect
import json
import re
import socket as socket_of_the_system
from contextlib import ExitStack

import autobahn.websocket.protocol
import daphne.http_protocol
import daphne.ws_protocol
import psutil
import pytest
from daphne.ws_protocol import WebSocketProtocol
from django.test import Client
from websockets.sync.client import connect

from config.services import all_services
from config.slim import HANDSHAKE
from status.models import Attachment, Job
from tests.direct_sockets import FRAMES, text
from tests.processes import Process, free_port, wait_until

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]

SERVERS = ["daphne", "uvicorn"]
MEGABYTE = 1024 * 1024
LINE = b"1234567,Somebody Somewhere,12.50,2026-05-01\n"


def multipart(web, path, client, pieces, token):
    """POST a file in pieces over one connection; returns status and headers."""
    boundary = "------boundary-of-the-test"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n{token}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="big.csv"\r\n'
        "Content-Type: text/csv\r\n\r\n"
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
    connection.putrequest("POST", path)
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    connection.putheader("Cookie", cookies)
    connection.putheader("Content-Type", f"multipart/form-data; boundary={boundary}")
    connection.putheader("Content-Length", str(len(head) + sum(map(len, pieces)) + len(tail)))
    connection.endheaders()
    for piece in (head, *pieces, tail):
        connection.send(piece)
    return connection.getresponse()


@pytest.fixture
def logged_in(alice):
    client = Client()
    client.force_login(alice)
    page = client.get("/jobs/new/profile-csv/").content.decode()
    return client, re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]


def test_a_large_upload_is_stored_whole_and_never_held_in_memory(web, logged_in):
    client, token = logged_in
    piece = LINE * (MEGABYTE // len(LINE))
    pieces = [b"id,name,amount,day\n", *[piece] * 80]
    process = psutil.Process(web.child.pid)
    before = process.memory_info().rss
    response = multipart(web, "/jobs/new/profile-csv/", client, pieces, token)
    assert response.status == 302
    assert process.memory_info().rss - before < 40 * MEGABYTE
    attachment = Attachment.objects.get(role="input")
    digest = hashlib.sha256()
    for part in pieces:
        digest.update(part)
    with attachment.file.open("rb") as stored:
        assert hashlib.file_digest(stored, "sha256").hexdigest() == digest.hexdigest()
    assert Job.objects.get().get_absolute_url() == response.headers["Location"]


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000])
def test_bodies_of_every_size_arrive(web, logged_in, size):
    client, token = logged_in
    content = (LINE * (size // len(LINE) + 1))[:size]
    response = multipart(web, "/jobs/new/profile-csv/", client, [b"a,b\n1,2\n", content], token)
    assert response.status == 302, response.read()
    assert Attachment.objects.get(role="input").file.read() == b"a,b\n1,2\n" + content


def test_a_client_that_goes_away_in_the_middle_harms_nobody(web, logged_in):
    client, token = logged_in
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
    connection.putrequest("POST", "/jobs/new/profile-csv/")
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    connection.putheader("Content-Length", str(10 * MEGABYTE))
    connection.endheaders()
    connection.send(b"x" * MEGABYTE)
    connection.close()
    other = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
    other.request("GET", "/healthz")
    assert other.getresponse().read() == b"ok\n"


def test_the_connection_of_a_request_to_the_database_ends_with_it(web, logged_in):
    """Settings keep them for ten minutes, for the workers."""
    client, _token = logged_in
    shown = {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}
    process = psutil.Process(web.child.pid)

    def connections():
        # Each has one of these open; of the other files SQLite keeps what it has opened for the next.
        return sum(file.path.endswith("-wal") for file in process.open_files())

    before = connections()
    for _ in range(10):
        connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
        connection.request("GET", "/jobs/", headers=shown)
        assert connection.getresponse().status == 200
        connection.close()
    wait_until(lambda: connections() <= max(before, 1), 10, f"{before} connections again")


@pytest.mark.parametrize("server", SERVERS)
def test_what_is_written_the_short_way_comes_whole_and_in_order(server, tmp_path):
    port = free_port()
    command = all_services(server, port, 0)[0].command[2:-1]
    process = Process(*command, "tests.direct_sockets:application", log=tmp_path / "log")
    try:
        wait_until(lambda: answers(process, port), 60, server)
        with connect(f"ws://127.0.0.1:{port}/", max_size=None, max_queue=1, proxy=None) as socket:
            socket.send("go")
            # Nobody reads until one was taken in part, and the next not at all.
            with connect(f"ws://127.0.0.1:{port}/refused", proxy=None) as other:
                assert other.recv(timeout=30) == "refused"
            for number in range(FRAMES):
                assert socket.recv(timeout=30) == text(number)
            taken = int(socket.recv(timeout=30).removeprefix("taken "))
        assert 0 < taken < FRAMES
    finally:
        process.stop()


def test_an_open_socket_keeps_nothing_of_its_handshake(tmp_path):
    port = free_port()
    command = all_services("daphne", port, 0)[0].command[2:-1]
    process = Process(*command, "tests.direct_sockets:application", log=tmp_path / "log")
    try:
        wait_until(lambda: answers(process, port), 60, "daphne")
        with ExitStack() as stack:
            # With compression offered, which is declined.
            sockets = [
                stack.enter_context(connect(f"ws://127.0.0.1:{port}/kept", proxy=None)) for _ in range(5)
            ]
            expected = {
                "of a handshake": {"HTTPChannel": 0, "StreamingRequest": 0, "Headers": 0, "Queue": 0},
                "sockets": 5,
                "attributes": [],
                "options": [],
                "header": 0,
            }

            def kept():
                sockets[0].send("What is kept?")
                return json.loads(sockets[0].recv(timeout=30))

            # daphne clears its list of requests once a second.
            wait_until(lambda: kept() == expected, 20, "the end of the handshakes")
    finally:
        process.stop()


def test_each_name_that_a_socket_forgets_is_still_one_of_daphnes_or_autobahns(tmp_path):
    sources = "".join(
        inspect.getsource(module)
        for module in (autobahn.websocket.protocol, daphne.ws_protocol, daphne.http_protocol)
    )
    assert [name for name in HANDSHAKE if f".{name} = " not in sources and f".{name}, " not in sources] == []
    assert WebSocketProtocol.CONFIG_ATTRS


def answers(process, port):
    assert process.child.poll() is None, process.output()[-4000:]
    with socket_of_the_system.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
