"""Partials as functions: they show what Django's own rendering shows."""

import itertools

import pytest
from django.template import Context, Engine, Template, engines
from django.template.loader import get_template
from django.utils.safestring import mark_safe

from status import compiled
from status.cells import PLACES, Places
from tests.test_templates import JOB_PARTIALS, NASTY, NOON, SITUATIONS, make_job


def both(template, **values):
    """As Django renders it, and as we do; the region's cells have their places in both."""
    context = Context({**values, PLACES: Places("live-1")}, autoescape=template.engine.autoescape)
    theirs = outcome(lambda: template.render(context))
    return theirs, outcome(lambda: compiled.render(template, {**values, PLACES: Places("live-1")}))


def outcome(render):
    """What it shows, or what it raises."""
    try:
        return render()
    except Exception as error:
        return repr(error)


@pytest.mark.parametrize("partial", JOB_PARTIALS)
def test_every_partial_shows_the_same_in_every_situation(partial):
    template = get_template(partial).template
    more = [{}, {"cancel_requested_at": NOON}, {"held": True}, {"canvas": "group", "tally": {"running": 2}}]
    flags = [{}, {"large": True, "links": True, "quiet": True}]
    for situation, fields, flag in itertools.product(SITUATIONS, more, flags):
        theirs, ours = both(template, job=make_job(situation, **fields), **flag)
        assert ours == theirs


class Odd:
    """What a variable may also be."""

    def __getitem__(self, key):
        return f"<{key}>"

    def __call__(self):
        return "called & escaped"


@pytest.mark.parametrize(
    "source",
    [
        "",
        "only text",
        "{{ job.title }}, {{ job.title|upper }}, {{ job.title|safe }}, {{ job.title|truncatechars:3 }}",
        "{{ job.nothing }}|{{ nothing }}|{{ nothing.more }}|{{ nothing|default_if_none:'none' }}|{{ none }}",
        "{{ job.get_state_display }} {{ job.is_live }} {{ job.percent }} {{ job.progress }} {{ job.started_at }}",
        "{{ job.step.name }} {{ job.step|counted }} {{ job|phase }} {{ job|speed }} {{ job.save }}",
        "{{ odd }} {{ odd.key }} {{ number }} {{ safe }} {{ _('Yes') }} {{ 'text' }} {{ items.0 }}",
        "{% if job.is_live %}a{% elif job %}b{% else %}c{% endif %}{% if nothing %}d{% else %}e{% endif %}",
        "{% if job.nothing %}a{% endif %}{% if nothing.more|upper %}b{% endif %}{% if not none %}c{% endif %}",
        "{% if job.state == 'running' and number > 3 %}a{% endif %}{% if odd %}b{% endif %}{% if False %}c{% endif %}",
        "{% autoescape off %}{{ job.title }}{% if job %}{{ job.title }}{% endif %}{% endautoescape %}{{ job.title }}",
        "{% comment %}{{ job }}{% endcomment %}{% for item in items %}{{ forloop.counter }}{{ item }}{% endfor %}",
        "{% cell '-own' %}{{ job.title }}{% endcell %}{% cell '-own' %}twice{% endcell %}",
        "{% cell 'b' tag='b' class=job.title %}{% endcell %}{% cell number %}{% endcell %}",
        "{% moment job.started_at as time %}{{ time }}{% with job.title as x %}{{ x }}{% endwith %}{{ x }}",
        "{% paint 'status/partials/bar.html' large=number %}{% paint 'status/partials/row.html' %}{{ large }}",
        "{% include 'status/partials/card.html' %}{% include nothing|default:'status/partials/badge.html' %}",
        "{% memo job 'title percent' number %}{{ job.title }}{% endmemo %}{% memo nothing 'x' %}y{% endmemo %}",
        "{% translate 'Progress' %}{% blocktranslate with t=job.title %}: {{ t }}{% endblocktranslate %}",
        "{% cycle 'a' 'b' %}{% firstof nothing job.title %}{% now 'Y' %}{% url 'status:jobs' %}",
    ],
)
def test_whatever_a_template_of_yours_does_shows_the_same(source):
    template = Template("{% load status i18n %}" + source)
    for job in (make_job(), make_job("failed", title="x"), {"title": NASTY, "state": "running"}, None):
        values = {"number": 4, "none": None, "safe": mark_safe("<i>"), "odd": Odd(), "items": ["<", 1]}
        theirs, ours = both(template, job=job, **values)
        assert ours == theirs


def test_what_a_partial_sets_is_gone_after_it(tmp_path, settings):
    (tmp_path / "inner.html").write_text("{% load status %}{% moment at as x %}{{ x }}")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    template = engines["django"].from_string(
        "{% load status %}{% paint 'inner.html' at=at %}|{{ x }}|{% paint 'inner.html' %}|{{ x }}"
    )
    theirs, ours = both(template.template, at=NOON)
    assert ours == theirs
    assert ours.count("<time") == 2


def test_an_error_of_a_partial_is_raised():
    template = Template("{{ job.state }}{% if job %}{{ boom }}{% endif %}")

    def boom():
        raise LookupError("boom")

    with pytest.raises(LookupError, match="boom"):
        compiled.render(template, {"job": make_job(), "boom": boom})


def test_what_a_project_shows_for_missing_variables_is_shown():
    engine = Engine(string_if_invalid="<{%s}>")
    theirs, ours = both(engine.from_string("{{ job.nothing }} {{ x }}"), job=make_job())
    assert ours == theirs == "&lt;{job.nothing}&gt; &lt;{x}&gt;"


def test_an_engine_that_does_not_escape_is_not_made_to():
    template = Engine(autoescape=False).from_string("{{ job.title }}")
    assert compiled.render(template, {"job": make_job()}) == NASTY


def test_with_debug_django_tells_the_line_of_an_error(tmp_path):
    template = Engine(debug=True).from_string("one\n{{ boom }}")
    with pytest.raises(ZeroDivisionError) as raised:
        compiled.render(template, {"boom": lambda: 1 / 0})
    assert raised.value.template_debug["line"] == 2
