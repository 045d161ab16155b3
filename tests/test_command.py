"""`manage.py jobs` in a pipe and in a terminal, with a real worker."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import msgspec
import pytest
from celery import chain, group

from config.valkey import Valkey
from status import jobs
from status.canvas import member
from status.models import Job
from status.programs.wire import describe
from status.states import State
from tests import tasks
from tests.conftest import ended, reached
from tests.processes import PROJECT, environment, free_port

pytestmark = pytest.mark.workers

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(autouse=True)
def _rows(transactional_db):
    """The commands are other processes: they see what is committed."""


def surroundings(**more: str) -> dict[str, str]:
    return environment() | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"} | more


def arguments(*words: object) -> list[str]:
    return [sys.executable, "manage.py", "jobs", *map(str, words)]


def run(*words: object, **more: str) -> SimpleNamespace:
    """Run the command in a pipe to its end."""
    done = subprocess.run(
        arguments(*words), cwd=PROJECT, env=surroundings(**more), capture_output=True, text=True, timeout=60
    )
    return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)


class Terminal:
    """The command in a terminal of its own."""

    def __init__(self, *words: object, **more: str) -> None:
        self.child, self.fd = pty.fork()
        if self.child == 0:
            # A shell has the jobs of its background ignore Ctrl-C, and the tests may be one.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.chdir(PROJECT)
            os.execve(sys.executable, arguments(*words), surroundings(**more))
        self.raw = ""

    def wait_for(self, text: str, seconds: float = 30.0) -> None:
        """Read until what it showed holds `text`."""
        deadline = time.monotonic() + seconds
        while text not in CODES.sub("", self.raw):
            assert time.monotonic() < deadline, f"no {text!r} in {self.raw!r}"
            assert self.read(), f"it ended without {text!r}: {self.raw!r}"

    def read(self) -> bool:
        """Read what there is; False at its end."""
        if not select.select([self.fd], [], [], 0.1)[0]:
            return True
        try:
            piece = os.read(self.fd, 65536)
        except OSError:
            return False
        self.raw += piece.decode(errors="replace")
        return bool(piece)

    def press_ctrl_c(self) -> None:
        os.write(self.fd, b"\x03")

    def code(self) -> int:
        """Read to the end; its exit code."""
        while self.read():
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])


@pytest.fixture
def people(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("name,age\n" + "".join(f"p{number},{number}\n" for number in range(500)))
    return path


def test_starts_a_job_from_a_file_and_watches_it_in_a_pipe(worker, alice, people):
    done = run("start", "profile-csv", "--param", f"file=@{people}", "--owner", "alice", "--watch")
    assert done.code == 0, done.err
    job = Job.objects.get()
    assert job.state == State.SUCCEEDED
    assert job.owner == alice
    first, *rest = done.out.splitlines()
    assert first == str(job.pk)
    assert rest[-1].split(" ", 1)[1].startswith("Succeeded: after ")
    assert "\x1b" not in done.out + done.err


def test_a_start_without_watching_prints_the_id_alone(alice, people):
    done = run("start", "profile-csv", "--param", f"file=@{people}", "--owner", "alice")
    assert (done.code, done.out) == (0, f"{Job.objects.get().pk}\n")
    assert Job.objects.get().sent_at is not None


def test_while_a_job_holds_the_key_no_other_is_started(alice, people):
    words = ("start", "profile-csv", "--param", f"file=@{people}", "--owner", "alice", "--key", "people")
    first = run(*words)
    assert first.err == ""
    # However far a worker got with it.
    Job.objects.update(state=State.RUNNING, attempt=9)
    second = run(*words)
    assert second.out == first.out
    assert "is under way" in second.err
    assert Job.objects.count() == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["start", "nothing", "--owner", "alice"], "Known: "),
        (["start", "profile-csv", "--owner", "nobody"], "There is no user 'nobody'"),
        (["start", "profile-csv", "--owner", "alice"], "file: This field is required."),
        (["start", "profile-csv", "--owner", "alice", "--param", "file=x"], "write file=@PATH"),
        (["start", "profile-csv", "--owner", "alice", "--param", "file=@no/such/file"], "No such file"),
        (
            ["start", "profile-csv", "--owner", "alice", "--param", "size=3"],
            "no parameter 'size'. Known: file",
        ),
        (["start", "profile-csv", "--owner", "alice", "--param", "size"], "not of the form name=value"),
        (["watch", "7"], "invalid UUID value"),
        (["watch", "00000000-0000-0000-0000-000000000000"], "There is no job"),
        (["list", "--limit", "-1"], "no whole number above 0"),
        ([], "VERB"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(alice, words, said):
    done = run(*words)
    assert done.code == 2
    assert said in done.err
    assert not Job.objects.exists()


def test_a_permission_is_asked_for_as_on_the_page(alice, people):
    from status.registry import startables

    assert not startables["profile-csv"].permission
    done = run("start", "monthly-report", "--owner", "alice")
    assert done.code == 2


def test_watching_tells_steps_log_lines_and_the_end_in_order(worker, alice, tmp_path):
    job = jobs.start(tasks.import_rows.s(1000, str(tmp_path / "gate")), owner=alice)
    with subprocess.Popen(
        arguments("watch", job.pk), cwd=PROJECT, env=surroundings(), stdout=subprocess.PIPE, text=True
    ) as watching:
        said = []
        for line in watching.stdout:
            said.append(line.rstrip("\n").split(" ", 1)[1])
            if said[-1] == "| WARNING careful now":
                (tmp_path / "gate").touch()
        assert watching.wait() == 0
    lines = [line for line in said if line.startswith("| ")]
    assert lines == ["| half of 1000", "| WARNING careful now"]
    assert any("Step 2 of 3: Import" in line and "rows" in line for line in said)
    assert said[-1].endswith("See the orders")


def test_a_failed_job_ends_with_1_and_its_error(worker, alice):
    job = jobs.start(tasks.fail.s("no such order"), owner=alice)
    done = run("watch", job.pk)
    assert done.code == 1
    assert "no such order" in done.out.splitlines()[-1]


def test_a_cancelled_job_ends_with_3(worker, alice, tmp_path):
    job = jobs.start(tasks.until_cancelled.s(str(tmp_path / "clean")), owner=alice)
    reached(job, State.RUNNING)
    done = run("cancel", job.pk)
    assert done.code == 0, done.err
    watched = run("watch", job.pk)
    assert watched.code == 3
    assert run("cancel", job.pk).code == 0


def test_what_has_ended_otherwise_cannot_be_cancelled(worker, alice):
    job = ended(jobs.start(tasks.add.s(1, 2), owner=alice))
    assert run("cancel", job.pk).code == 1
    refused = run("retry", job.pk)
    assert refused.code == 1
    assert "Only a failed or cancelled job" in refused.err


def test_a_retry_is_watched_as_the_next_attempt(worker, alice):
    job = ended(jobs.start(tasks.fail.s("again"), owner=alice))
    done = run("retry", job.pk, "--watch")
    assert done.code == 1
    assert "Failed (attempt 2)" in done.out.splitlines()[-1]


def test_ctrl_c_leaves_the_job_running_and_says_so(worker, alice, tmp_path):
    job = jobs.start(tasks.until_cancelled.s(str(tmp_path / "clean")), owner=alice)
    reached(job, State.RUNNING)
    terminal = Terminal("watch", job.pk)
    terminal.wait_for("Running")
    terminal.press_ctrl_c()
    assert terminal.code() == 130
    assert "The job goes on." in terminal.raw
    job.refresh_from_db()
    assert (job.state, job.cancel_requested_at) == (State.RUNNING, None)
    jobs.cancel(job)
    ended(job)


def test_ctrl_c_cancels_if_asked_to(worker, alice, tmp_path):
    job = jobs.start(tasks.until_cancelled.s(str(tmp_path / "clean")), owner=alice)
    reached(job, State.RUNNING)
    terminal = Terminal("watch", job.pk, "--cancel-on-interrupt")
    terminal.wait_for("Running")
    terminal.press_ctrl_c()
    assert terminal.code() == 3
    assert ended(job).state == State.CANCELLED


def test_a_second_ctrl_c_leaves_a_job_that_does_not_end(worker, alice, tmp_path):
    job = jobs.start(tasks.deaf.s(str(tmp_path / "gate")), owner=alice)
    reached(job, State.RUNNING)
    terminal = Terminal("watch", job.pk, "--cancel-on-interrupt")
    terminal.wait_for("Running")
    terminal.press_ctrl_c()
    terminal.wait_for("Cancelling")
    terminal.press_ctrl_c()
    assert terminal.code() == 130
    job.refresh_from_db()
    assert job.is_cancelling
    (tmp_path / "gate").touch()
    ended(job)


def test_a_terminal_shows_bars_that_move_and_the_log_above_them(worker, alice, tmp_path):
    job = jobs.start(tasks.import_rows.s(1000, str(tmp_path / "gate")), owner=alice, title="Orders of May")
    terminal = Terminal("watch", job.pk)
    terminal.wait_for("careful now")
    terminal.wait_for("500 / 1,000 rows")
    (tmp_path / "gate").touch()
    assert terminal.code() == 0
    assert "\x1b[" in terminal.raw
    assert "━" in terminal.raw
    last = CODES.sub("", terminal.raw).rpartition("Orders of May")[2]
    assert "Succeeded" in last
    assert "1,000 / 1,000 rows" in last


def test_a_terminal_shows_a_workflow_as_a_tree(worker, alice):
    parts = [member(tasks.add.s(number, 1), title=f"Part {number}") for number in range(3)]
    work = chain(
        member(tasks.add.s(0, 0), title="Prepare"), group(*[part.set(immutable=True) for part in parts])
    )
    job = jobs.start(work, owner=alice, title="All parts")
    terminal = Terminal("watch", job.pk)
    assert terminal.code() == 0, terminal.raw
    last = CODES.sub("", terminal.raw).rpartition("All parts")[2]
    for name in ("Prepare", "Part 0", "Part 1", "Part 2"):
        assert re.search(rf"[├└│].*✓ {name}", last), last


def test_a_dumb_terminal_gets_plain_lines(worker, alice):
    job = jobs.start(tasks.add.s(1, 2), owner=alice)
    terminal = Terminal("watch", job.pk, TERM="dumb")
    assert terminal.code() == 0
    assert "\x1b" not in terminal.raw


def test_without_rich_a_terminal_gets_plain_lines(worker, alice, tmp_path):
    (tmp_path / "rich.py").write_text("raise ImportError('not here')")
    job = jobs.start(tasks.add.s(1, 2), owner=alice)
    terminal = Terminal("watch", job.pk, PYTHONPATH=str(tmp_path))
    assert terminal.code() == 0
    assert "Succeeded" in terminal.raw
    assert "\x1b" not in terminal.raw


def test_what_a_task_says_does_not_command_the_terminal(worker, alice):
    job = jobs.start(tasks.fail.s("\x1b]0;title\x07\x1b[2J\u202egone"), owner=alice)
    done = run("watch", job.pk)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.out), done.out


def test_without_redis_the_row_is_watched_to_its_end(worker, alice, tmp_path):
    job = jobs.start(tasks.import_rows.s(1000, str(tmp_path / "gate")), owner=alice)
    terminal = Terminal("watch", job.pk, REDIS_URL=f"redis://127.0.0.1:{free_port()}")
    terminal.wait_for("careful now")
    (tmp_path / "gate").touch()
    assert terminal.code() == 0
    assert "Succeeded" in terminal.raw
    assert "Traceback" not in terminal.raw
    assert terminal.raw.count("no messages come, its row is read instead") == 1


def test_when_redis_dies_meanwhile_the_row_is_watched_to_its_end(worker, alice, tmp_path):
    with Valkey(tmp_path / "valkey") as valkey:
        job = jobs.start(tasks.import_rows.s(1000, str(tmp_path / "gate")), owner=alice)
        terminal = Terminal("watch", job.pk, REDIS_URL=valkey.url)
        terminal.wait_for("careful now")
    # Its client tries to connect again each second.
    died_at = time.monotonic()
    while time.monotonic() < died_at + 3:
        assert terminal.read()
    (tmp_path / "gate").touch()
    assert terminal.code() == 0
    assert "Traceback" not in terminal.raw
    assert terminal.raw.count("no messages come, its row is read instead") == 1


def test_who_reads_no_more_ends_it_quietly(worker, alice, tmp_path):
    job = jobs.start(tasks.until_cancelled.s(str(tmp_path / "clean")), owner=alice)
    reached(job, State.RUNNING)
    with subprocess.Popen(
        arguments("watch", job.pk),
        cwd=PROJECT,
        env=surroundings(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watching:
        assert "Until cancelled" in watching.stdout.readline()
        watching.stdout.close()
        jobs.cancel(job)
        assert watching.wait() == 141
        assert watching.stderr.read() == ""


def test_lists_jobs_by_state_task_and_owner_as_lines_and_as_json(alice, bob):
    mine = Job.objects.create(task="tests.tasks.add", owner=alice, title="Mine\tand\x1b[31m red")
    Job.objects.create(task="tests.tasks.add", owner=bob, state=State.FAILED)
    done = run("list", "--owner", "alice", "--state", "queued", "--task", "tests.tasks.add")
    assert done.code == 0
    columns = done.out.rstrip("\n").split("\t")
    assert columns[0] == str(mine.pk)
    assert columns[-1] == "Mine and�[31m red"
    found = [json.loads(line) for line in run("list", "--json", "--limit", "5").out.splitlines()]
    assert [job["owner"] for job in found] == [str(bob.pk), str(alice.pk)]
    assert found[1] == json.loads(msgspec.json.encode(describe(Job.objects.get(pk=mine.pk))))
    assert found[1]["id"] == str(mine.pk)
    assert [job["state"] for job in found] == ["failed", "queued"]
    assert run("list", "--state", "waiting").out == ""


def test_help_tells_the_exit_codes():
    assert "130  Ctrl-C" in run("--help").out
