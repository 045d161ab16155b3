import threading
import time

import pytest

from demo.farm.renders import MOST_RENDERS, Render, Renders
from demo.farm.server import Farm, picture
from demo.renders import FarmRefuses, Passing, RenderForm, ask, render_on_the_farm
from status.registry import startables
from status.sources.remote import PollAgain


@pytest.fixture
def farm(settings):
    """A farm in a thread."""
    with Farm(0) as server:
        settings.FARM_URL = server.url
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def submit(behaviour="good", frames=100, key=""):
    return ask("POST", "/renders", {"frames": frames, "behaviour": behaviour, "key": key})


def test_a_render_is_as_far_as_time_went_by():
    render = Render(frames=100, behaviour="good", key="", began=time.monotonic() - 2)
    assert render.done == pytest.approx(40, abs=1)
    assert render.state("u")["url"] == ""
    render.began -= 100
    assert (render.done, render.state("u")["finished"], render.state("u")["url"]) == (100, True, "u/picture")
    assert picture(render).count("<rect") == 100


def test_the_same_key_is_the_same_render(farm):
    assert submit(key="k")["id"] == submit(key="k")["id"] != submit()["id"]


def test_it_does_not_hold_more_renders_than_it_can():
    renders = Renders()
    first = renders.submit(1, "good", "")
    for _ in range(MOST_RENDERS):
        renders.submit(1, "good", "")
    assert renders.get(first.id) is None


@pytest.mark.parametrize(
    "body", [{}, {"frames": 0}, {"frames": 501}, {"frames": 5, "behaviour": "?"}, {"frames": "x"}]
)
def test_the_farm_refuses_what_it_cannot_do(farm, body):
    with pytest.raises(FarmRefuses):
        ask("POST", "/renders", body)


@pytest.mark.parametrize("path", ["/renders/" + "0" * 32, "/renders/../x", "/", "/renders"])
def test_the_farm_knows_nothing_else(farm, path):
    with pytest.raises(FarmRefuses, match="does not know"):
        ask("GET", path)


@pytest.mark.parametrize("behaviour", ["fails", "refuses"])
def test_what_may_pass_is_told_from_what_does_not(farm, behaviour):
    render = submit(behaviour)["id"]
    with pytest.raises(Passing):
        ask("GET", f"/renders/{render}")


def test_a_flaky_farm_answers_every_other_time(farm):
    render, answers = submit("flaky")["id"], []
    for _ in range(4):
        try:
            answers.append(ask("GET", f"/renders/{render}")["frames"])
        except Passing as error:
            answers.append(type(error).__name__)
    assert answers in (
        ["HTTPError", 100, "RemoteDisconnected", 100],
        ["HTTPError", 100, "ConnectionResetError", 100],
    )


def test_cancelling_is_counted(farm):
    render = submit()["id"]
    ask("DELETE", f"/renders/{render}")
    assert ask("DELETE", f"/renders/{render}")["cancels"] == 2


def test_the_task_looks_once_and_comes_back(farm):
    with pytest.raises(PollAgain):
        render_on_the_farm(frames=500)
    done = submit(frames=1)["id"]
    farm.renders.get(done).began -= 1
    assert render_on_the_farm(frames=1, render=done)["url"].endswith("/picture")


@pytest.mark.parametrize(
    ("frames", "is_valid"), [(1, True), (500, True), (0, False), (501, False), ("", False)]
)
def test_the_form_asks_for_1_to_500_frames(frames, is_valid):
    form = RenderForm({"frames": frames, "behaviour": "good"})
    assert form.is_valid() is is_valid


def test_it_can_be_started_from_a_page():
    assert startables["render-on-the-farm"].origin == "demo.renders.render_on_the_farm"
