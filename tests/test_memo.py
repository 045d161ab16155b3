"""`{% memo %}`, and the cells that are a region's own."""

import itertools
import re
import zoneinfo

import pytest
from django.template import Context, Template, TemplateSyntaxError, engines
from django.template.loader import get_template
from django.utils import timezone, translation

from status.cells import CellNode
from status.looks import keeps_look
from status.memo import MOST_KEPT, MemoNode
from status.models import Job
from status.regions import Region, Subject
from status.rendering import Shown, render
from status.states import State
from tests.test_templates import JOB_PARTIALS, NASTY, NOON, SITUATIONS, make_job


def code(text):
    return Template("{% load status i18n l10n tz %}" + text)


def show(template, **context):
    return template.render(Context(context))


# -- {% memo %} --------------------------------------------------------------------------------------------


def test_what_was_rendered_from_the_same_values_is_used_again():
    template = code('{% memo job "state percent" %}{{ job.state }} {{ other }}{% endmemo %}')
    assert show(template, job=make_job(progress=0.5), other=1) == "running 1"
    assert show(template, job=make_job(progress=0.5), other=2) == "running 1"
    assert show(template, job=make_job(progress=0.6), other=2) == "running 2"
    assert show(template, job=make_job("failed", progress=0.5), other=2) == "failed 2"


def test_further_values_count():
    template = code(
        '{% memo job "state" large job.title|length %}{% if large %}large {% endif %}{{ job.title }}{% endmemo %}'
    )
    assert show(template, job=make_job(title="a"), large=True) == "large a"
    assert show(template, job=make_job(title="a")) == "a"
    assert show(template, job=make_job(title="bb"), large=True) == "large bb"


@pytest.mark.parametrize("partial", JOB_PARTIALS)
def test_no_partial_of_ours_shows_one_job_what_belongs_to_another(partial, monkeypatch):
    """In every situation after every other one, as if nothing had been kept."""
    changes = [
        {},
        {"attempt": 2},
        {"progress": 0.7, "rate": 3.5},
        {"error": NASTY + "!"},
        {"worker": "w2", "queue": "q"},
    ]
    changes += [{"most_attempts": 3}, {"schedule": "daily"}, {"title": "Other"}, {"polls": 1}, {"steps": []}]
    changes += [
        {"cancel_requested_at": NOON},
        {"stoppable": True},
        {"time_left_seconds": 3.0},
        {"next_at": NOON},
    ]
    changes += [
        {"poll_at": NOON},
        {"canvas": "group", "tally": {"running": 2}},
        {"held": True},
        {"finished_at": None},
    ]
    jobs = [make_job(situation, **more) for situation, more in itertools.product(SITUATIONS, changes)]
    template, large = get_template(partial), {"large": True, "links": True, "quiet": True}
    with_memo = [[template.render({"job": job, **more}) for more in ({}, large)] for job in jobs]
    monkeypatch.setattr(MemoNode, "render", MemoNode._render_anew)
    assert [[template.render({"job": job, **more}) for more in ({}, large)] for job in jobs] == with_memo


def test_languages_and_time_zones_are_kept_apart():
    template = code(
        '{% memo job "next_at" %}{% translate "Yes" %} {% moment job.next_at "H:i" %}{% endmemo %}'
    )
    job, seen = make_job(next_at=NOON), set()
    for language, zone in itertools.product(("en", "de"), ("UTC", "Asia/Tokyo")):
        with translation.override(language), timezone.override(zoneinfo.ZoneInfo(zone)):
            seen.add(re.sub("<.*?>", "", show(template, job=job)))
    assert seen == {"Yes 12:00", "Ja 12:00", "Yes 21:00", "Ja 21:00"}


def test_a_partial_that_changes_the_language_midway_is_right_as_well(settings, tmp_path):
    badge = '{% load status i18n %}{% memo job "state" %}{% translate "Yes" %}{% endmemo %}'
    (tmp_path / "badge.html").write_text(badge)
    (tmp_path / "both.html").write_text(
        '{% load i18n %}{% include "badge.html" %} {% language "de" %}{% include "badge.html" %}{% endlanguage %}'
    )
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    job = make_job()
    region = Region(Subject.job(job.pk), "both.html", "both")
    for _ in range(2):
        assert render(region, Shown(job=job)) == "Yes Ja"
        assert render(Region(region.subject, "badge.html", "badge"), Shown(job=job)) == "Yes"


@pytest.mark.parametrize(
    ("text", "keeps"),
    [
        ("{{ job.title }}", True),
        ('{% include "status/partials/card.html" %}{% include "status/partials/steps.html" %}', True),
        ('{% language "de" %}{% endlanguage %}', False),
        ('{% if job %}{% timezone "UTC" %}{% endtimezone %}{% endif %}', False),
        ("{% localtime off %}{% endlocaltime %}", False),
        ("{% include name %}", False),
        ('{% extends "404.html" %}', False),
    ],
)
def test_whether_a_partial_keeps_the_look(text, keeps):
    found = engines["django"].from_string(text if "extends" in text else "{% load status i18n tz %}" + text)
    assert keeps_look(found.template) == keeps


def test_what_is_escaped_is_kept_apart_from_what_is_not():
    template = code(
        '{% autoescape off %}{% memo job "title" %}{{ job.title }}{% endmemo %}{% endautoescape %}'
    )
    inner = code('{% memo job "title" %}{{ job.title }}{% endmemo %}')
    node = template.nodelist.get_nodes_by_type(MemoNode)[0]
    inner.nodelist[-1] = node
    assert show(template, job=make_job(title="<b>")) == "<b>"
    assert show(inner, job=make_job(title="<b>")) == "&lt;b&gt;"


def test_what_is_no_job_or_cannot_be_a_key_is_rendered_as_ever():
    template = code('{% memo job "steps" %}{{ job.state }}{{ job.steps|length }}{% endmemo %}')
    assert show(template, job={"state": "odd", "steps": "1"}) == "odd1"
    assert show(template, job=make_job()) == "running3"
    assert show(template) == "0"


def test_it_holds_only_so_much():
    template = code('{% memo job "seq" %}{{ job.seq }}{% endmemo %}')
    [node] = template.nodelist.get_nodes_by_type(MemoNode)
    for number in range(MOST_KEPT + 2):
        assert show(template, job=Job(seq=number)) == str(number)
    assert len(node._kept) == 2


@pytest.mark.parametrize("text", ["{% memo job %}", '{% memo job "" %}', "{% memo job names %}"])
def test_it_says_what_it_takes(text):
    with pytest.raises(TemplateSyntaxError, match="memo"):
        code(text + "{% endmemo %}")


# -- cells of a region's own -------------------------------------------------------------------------------


def test_a_cell_of_a_regions_own_has_the_regions_id_before_its_name():
    job = make_job()
    for name in ("one", "two"):
        ids = re.findall(
            r'\bid="([^"]+)"',
            render(Region(Subject.job(job.pk), "status/partials/card.html", name), Shown(job=job)),
        )
        assert ids == [f"{name}-percent", f"{name}-bar", f"{name}-counted", f"{name}-speed", f"{name}-clock"]


def test_outside_a_region_it_has_no_id():
    html = show(code('{% cell "-done" tag="b" class="x" %}1{% endcell %}'))
    assert html == '<b class="x">1</b>'


def test_the_second_of_a_name_is_no_cell(settings, tmp_path):
    (tmp_path / "twice.html").write_text(
        '{% load status %}{% for n in "12" %}{% cell "-n" %}{{ n }}{% endcell %}{% endfor %}'
    )
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    html = render(Region(Subject.topic("t"), "twice.html", "r"), Shown())
    assert html == '<span id="r-n"><!--cell r-n-->1<!--/cell--></span><span>2</span>'


def test_within_what_serves_every_region_it_is_no_cell():
    template = code('{% memo job "state" %}{% cell "-done" %}1{% endcell %}{% endmemo %}')
    assert template.nodelist.get_nodes_by_type(CellNode)
    assert State.RUNNING in SITUATIONS["running"].values()
    assert show(template, job=make_job(), _places="never asked") == "<span>1</span>"
