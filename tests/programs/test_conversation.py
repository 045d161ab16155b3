"""Programs in processes of their own, against a real web server and a real worker."""

import json
import subprocess
import sys
import textwrap

import pytest

from status.models import Job, Token
from tests.processes import PROJECT, Web

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]

PREAMBLE = """
import json, sys
from websockets.sync.client import connect

def tell(**message):
    socket.send(json.dumps(message))

def hear(type_):
    while True:
        message = json.loads(socket.recv(timeout=30))
        heard.append(message)
        if message["type"] == type_:
            return message

heard = []
url, secret, *arguments = sys.argv[1:]
socket = connect(url, additional_headers={"Authorization": f"Bearer {secret}"}, proxy=None, origin=None)
"""


@pytest.fixture(scope="module")
def web(tmp_path_factory, django_db_setup):
    """A daphne with startables of the tests."""
    process = Web(tmp_path_factory.mktemp("web") / "log", "tests.programs.asgi:application")
    yield process
    process.stop()


@pytest.fixture
def token(alice):
    return Token.make(alice, "tests", Token.Scope.ACT)


def converse(web, secret, script, *arguments):
    """Run a client that knows nothing of Django; returns all it heard."""
    command = [sys.executable, "-c", PREAMBLE + textwrap.dedent(script) + "\nprint(json.dumps(heard))"]
    url = web.url.replace("http", "ws") + "/ws/jobs/"
    done = subprocess.run(
        [*command, url, secret, *arguments], cwd=PROJECT.parent, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_program_starts_a_job_and_hears_how_it_goes_to_its_end(web, worker, token, alice):
    heard = converse(
        web,
        token[1],
        """
        hello = hear("hello")
        tell(type="start", ref="r1", job="count-rows", params={"count": 40}, key="k1")
        accepted = hear("accepted")
        while not hear("job")["job"]["over"]:
            pass
        tell(type="ping", ref=2)
        hear("pong")
        """,
    )
    hello, accepted, *moves, pong = heard
    assert hello["version"] == 1
    assert hello["scope"] == "act"
    assert hello["limits"]["watches"] == 100
    job = Job.objects.get()
    assert job.owner == alice
    assert accepted["ref"] == "r1"
    assert accepted["job"]["id"] == str(job.pk)
    assert {move["type"] for move in moves} == {"job"}
    last = moves[-1]["job"]
    assert (last["state"], last["result"]["label"]) == ("succeeded", "See the orders")
    assert last["progress"] == 1.0
    assert [move["job"]["over"] for move in moves] == [False] * (len(moves) - 1) + [True]
    assert pong == {"type": "pong", "ref": 2}
