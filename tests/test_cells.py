"""`{% cell %}`: what changes often within a region is swapped alone."""

import re
from uuid import uuid4

import pytest
from django.template import Context, Template, TemplateSyntaxError
from django.utils.safestring import mark_safe

from status import rendering
from status.cells import Painted, format_attributes
from status.hub.slots import Frame
from status.models import Job
from status.models.tree import load
from status.regions import Region, Subject
from status.rendering import Shown, render, swap
from status.states import State

REGION = Region(Subject.topic("t"), "status/partials/members.html", "members")


def show(code, **context):
    return Template("{% load status %}" + code).render(Context(context))


def changes(region, before, after):
    return rendering.changes(region, None if before is None else Painted(before), Painted(after))


def painted(first, second="b", link="Photo", extra=""):
    """A region of a link and two cells."""
    code = (
        '<a href="/">{{ link }}</a>{% cell "one" %}{{ first }}{% endcell %} '
        '{% cell "two" tag="b" class=extra %}{{ second }}{% endcell %}'
    )
    return show(code, first=first, second=second, link=link, extra=extra)


# -- the tag -----------------------------------------------------------------------------------------------


def test_a_cell_is_an_element_with_its_id():
    html = show('{% cell "done-7" tag="b" class="text-sm" data_job="x" %}<i>{{ n }}</i>{% endcell %}', n="<3")
    assert re.sub("<!--.*?-->", "", html) == '<b id="done-7" class="text-sm" data-job="x"><i>&lt;3</i></b>'


@pytest.mark.parametrize("bad", ["", "7x", "a b", 'a"', "a>", "ä", "a--><b>", "a\n"])
def test_an_id_that_is_none_is_refused(bad):
    with pytest.raises(TemplateSyntaxError, match="needs an id"):
        show("{% cell bad %}x{% endcell %}", bad=bad)


def test_what_people_write_cannot_end_a_cell():
    evil = "<!--/cell--><!--cell two-->"
    before, after = painted(evil), painted(evil + "!")
    assert changes(REGION, before, after).keys() == {"members/one"}
    assert "&lt;!--/cell--&gt;" in after


# -- what changed ------------------------------------------------------------------------------------------


def test_only_the_cells_that_changed_are_swapped():
    fragments = changes(REGION, painted(1), painted(2))
    assert fragments == {"members/one": '<span id="one" hx-swap-oob="innerHTML">2</span>'}
    both = changes(REGION, painted(1, 1), painted(2, 2))
    assert list(both) == ["members/one", "members/two"]


def test_the_first_time_the_region_is_sent():
    assert changes(REGION, None, painted(1)) == {"members": swap(REGION, painted(1))}


@pytest.mark.parametrize(
    "after",
    [
        painted(2, link="Other"),
        painted(2, extra="done"),
        painted(2) + "more",
        painted(2).replace("one", "three"),
        painted(2).replace("<b", "<i").replace("/b>", "/i>"),
        painted(2) + show('{% cell "new" %}{% endcell %}'),
        "gone",
        "",
    ],
)
def test_when_anything_else_changed_the_region_is_sent(after):
    assert changes(REGION, painted(1), after) == {"members": swap(REGION, after)}


def test_cells_that_change_their_order_are_no_mere_change_of_cells():
    one, two = show('{% cell "one" %}1{% endcell %}'), show('{% cell "two" %}2{% endcell %}')
    assert changes(REGION, one + two, two + one) == {"members": swap(REGION, two + one)}


def test_a_region_without_cells_is_sent_whole():
    assert changes(REGION, "<p>1</p>", "<p>2</p>") == {"members": swap(REGION, "<p>2</p>")}


def test_a_cell_may_be_empty_and_span_lines():
    assert changes(REGION, painted(""), painted("1\n2")).keys() == {"members/one"}
    assert changes(REGION, painted("1\n2"), painted("")) == {
        "members/one": '<span id="one" hx-swap-oob="innerHTML"></span>'
    }


# -- frames that wait for a slow reader --------------------------------------------------------------------


def frame(**parts):
    return Frame(parts={key.replace("__", "/"): part for key, part in parts.items()})


def test_of_a_cell_the_newer_is_kept():
    assert frame(a__1="old", a__2="x").then(frame(a__1="new")).parts == {"a/1": "new", "a/2": "x"}


def test_a_region_that_is_replaced_takes_its_cells_along():
    waiting = frame(a__1="old", a__2="old", ab__1="kept", b="kept").then(frame(a="whole"))
    assert waiting.parts == {"ab/1": "kept", "b": "kept", "a": "whole"}


def test_a_cell_that_is_newer_than_its_region_comes_after_it():
    waiting = frame(a="whole", b="x").then(frame(a__1="newer"))
    assert waiting.text == "wholexnewer"
    assert waiting.then(frame(a="whole 2")).text == "xwhole 2"


def test_a_cell_that_came_before_its_region_is_newer_after_it():
    assert frame(a__1="1").then(frame(a="whole")).then(frame(a__1="2")).text == "whole2"


def test_frames_are_not_changed_by_those_that_follow():
    first, second = frame(a__1="1"), frame(a="2")
    assert first.then(second).text == "2"
    assert (first.text, second.text) == ("1", "2")


# -- members of a job --------------------------------------------------------------------------------------


@pytest.fixture
def whole(db):
    whole = Job.objects.create(task="celery.group", title="Whole", canvas="group", state=State.RUNNING)
    for place in range(30):
        state = State.RUNNING if place < 3 else State.QUEUED
        Job.objects.create(
            task="t",
            title=f"Part {place}",
            root=whole,
            parent=whole,
            position=place,
            state=state,
            progress=0.1,
        )
    return whole


def look(whole):
    region = Region(Subject.job(whole.pk), "status/partials/members.html", "members")
    whole.forget_members()
    return region, render(region, Shown(job=whole))


def moved(whole, before):
    region, html = look(whole)
    return changes(region, before, html)


def member(whole, place):
    return Job.objects.get(parent=whole, position=place)


def test_a_member_that_gets_on_changes_its_figure_alone(whole):
    _region, before = look(whole)
    assert moved(whole, before) == {}
    part = member(whole, 1)
    Job.objects.filter(pk=part.pk).update(progress=0.02)
    fragment = f'<span id="{part.cell_id}" hx-swap-oob="innerHTML">2%</span>'
    assert moved(whole, before) == {f"members/{part.cell_id}": fragment}


def test_a_member_that_is_not_shown_changes_the_counts_alone(whole):
    _region, before = look(whole)
    Job.objects.filter(parent=whole, position=29).update(state=State.SUCCEEDED)
    Job.objects.filter(parent=whole, position=28).update(state=State.QUEUED, progress=0.9)
    # The first that succeeded has its place among the counts already.
    assert list(moved(whole, before)) == ["members/tally-queued", "members/tally-succeeded"]


def test_a_member_that_ends_while_all_are_shown_changes_what_is_said_of_it_alone(whole):
    Job.objects.filter(parent=whole, position__gte=20).delete()
    _region, before = look(whole)
    part = member(whole, 1)
    Job.objects.filter(pk=part.pk).update(state=State.FAILED, error="No such file.")
    wanted = {f"members/{part.cell_id}{of}" for of in ("", "-state", "-note")}
    found = moved(whole, before)
    assert set(found) == wanted | {"members/tally-running", "members/tally-failed"}
    assert "No such file." in found[f"members/{part.cell_id}-note"]


def test_a_member_that_changes_its_state_changes_the_list(whole):
    _region, before = look(whole)
    Job.objects.filter(parent=whole, position=1).update(state=State.FAILED, error="no luck")
    assert list(moved(whole, before)) == ["members"]


def test_no_id_is_on_a_page_twice(whole):
    inner = member(whole, 0)
    Job.objects.filter(pk=inner.pk).update(canvas="group")
    for place in range(20):
        Job.objects.create(id=uuid4(), task="t", title="x", root=whole, parent=inner, position=place)
    assert load(whole).twigs[0].branch.more
    ids = re.findall(r'\bid="([^"]+)"', look(whole)[1])
    assert len(ids) > 30
    assert len(set(ids)) == len(ids)


def test_attributes_are_escaped_unless_somebody_has_done_that():
    for _ in range(2):
        assert format_attributes({"title": "a<b", "data_job": "1"}) == ' title="a&lt;b" data-job="1"'
        assert format_attributes({"title": mark_safe("a&lt;b")}) == ' title="a&lt;b"'
        assert format_attributes({"title": "a&lt;b"}) == ' title="a&amp;lt;b"'
        assert format_attributes({"title": None, "hidden": False, "tabindex": 0}) == ' tabindex="0"'
