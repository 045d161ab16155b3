"""Partials as functions: they show what Django's own rendering shows."""

import itertools

import pytest
from django.template import Context, Engine, Template, TemplateDoesNotExist, engines
from django.template.base import VariableNode
from django.template.loader import get_template
from django.template.loader_tags import IncludeNode
from django.utils import translation
from django.utils.safestring import mark_safe

from status import compiled, pages
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
        "{% include 'status/partials/bar.html' with large=number %}{% include 'status/partials/row.html' %}{{ large }}",
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
        "{% load status %}{% include 'inner.html' with at=at %}|{{ x }}|{% include 'inner.html' %}|{{ x }}"
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


# -- pages -------------------------------------------------------------------------------------------------

PROCESSOR = "django.template.context_processors.request"
PAGES = {
    "base.html": """{% load i18n %}<{% block head %}head {{ n }}{% endblock %}>
        {% if n %}{% block inner %}in {{ n }}{% endblock %}{% endif %}
        {% include 'foot.html' with x=n %}{% include 'other.html' %}
        {% translate 'Jobs' %}{% block last %}{% endblock %}""",
    "foot.html": "[foot {{ x }}{% cycle 'a' 'b' %}]",
    "other.html": "[{% block head %}other {{ x }}{% endblock %}]",
    "middle.html": """{# Said before. #} {% extends 'base.html' %}no
        {% block head %}middle {{ block.super }}{% block deep %}deep{% endblock %}{% endblock %}""",
    "row.html": """{% load status %}{% cycle 'odd' 'even' %} {{ item }}{{ forloop.counter }}
        {% moment at 'H' as set %}{{ set }};""",
    "sub/self.html": "{{ n }}{% for item in items %}{% include './self.html' with items='' n=item %}{% endfor %}",
}
USES = [
    """{% extends 'base.html' %}{% block head %}mine {{ block.super }}{% endblock %}
    {% block last %}{{ n|add:1 }}{% endblock %}""",
    """{% extends 'middle.html' %}{% block deep %}deeper {{ block.super }}{% endblock %}
    {% block inner %}<b>{{ block.super }}{% endblock %}""",
    """ {# said before #}{% extends 'middle.html' %}
    {% block deep %}{% for i in items %}{{ i }}{% endfor %}{% endblock %}""",
    "{% extends parent %}{% block last %}{% with n=7 %}{{ n }}{% endwith %}{{ n }}{% endblock %}",
    "{% for item in items %}{% include 'row.html' %}{% empty %}none{% endfor %}{{ set }}",
    "{% for item in items %}{% include 'row.html' with at=None item=forloop.first %}{% endfor %}{{ item }}",
    "{% for item in nothing %}x{% empty %}{% include 'row.html' %}{% endfor %}",
    "{% for a, b in pairs reversed %}{{ a }}{{ b }}{{ forloop.parentloop }}{{ forloop.revcounter }}{% endfor %}{{ a }}",
    "{% include 'row.html' with item=n at=at only %}{% include row with item=n %}{% include 'sub/self.html' %}",
    "{% with x=1 %}{% include 'foot.html' with y=2 only %}{% include 'foot.html' with y=2 %}{% endwith %}",
    """{% load i18n %}{% language 'de' %}{% translate 'Yes' %}{% endlanguage %}{% translate 'Yes' %}
    {% translate 'Yes' as y %}{{ y }}""",
    """{% load i18n %}{% translate 'Search' context 'button' %}{% translate html|default:'Yes' %}
    {% translate nothing|default:'Yes' %}
    {% translate 'Yes' noop %}{% translate '<i>' %}""",
    """{% load i18n %}{% autoescape off %}{% translate '<i>' %}{{ html }}{% endautoescape %}
    {% translate '<i>' %}{{ html }}100 %""",
    """{% load i18n %}{% blocktranslate with title=html %}Choose {{ title }}{% endblocktranslate %}
    {% blocktranslate %}{{ nothing }} {{ html }} 100 %{% endblocktranslate %}
    {% blocktranslate %}{{ n }}{% endblocktranslate %}
    {% blocktranslate trimmed %}
        since {{ html }}
    {% endblocktranslate %}{% blocktranslate count n=n %}one{% plural %}{{ n }} all{% endblocktranslate %}""",
    """{% load l10n %}{% localize off %}{{ big }}{% endlocalize %}{{ big }}
    {% spaceless %}<p> <b>{{ n }}</b> </p>{% endspaceless %}""",
]


@pytest.fixture
def write(tmp_path, settings):
    """Writes templates, and gives that which is to be rendered."""
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    settings.USE_THOUSAND_SEPARATOR = True

    def write(text, name="page.html"):
        for file, content in {**PAGES, name: text}.items():
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text(content)
        return get_template(name).template

    return write


@pytest.mark.parametrize("text", USES)
def test_a_page_shows_what_django_shows_of_it(text, write):
    template = write(text)
    values = {"n": 3, "items": ["<", 1], "parent": "base.html", "row": "row.html", "at": NOON}
    values |= {"pairs": [(1, "b"), (2, "<")], "html": "<i>", "big": 12345}
    for _ in range(2):
        for language in ("en", "de"):
            with translation.override(language):
                expected = template.render(Context(values))
                assert compiled.page(template).render(Context(values)) == expected
    assert expected.strip()


def test_a_text_that_its_translator_has_broken_is_shown_as_it_was_written(monkeypatch):
    template = Template("{% load i18n %}{% blocktranslate with x=1 %}Choose {{ x }}{% endblocktranslate %}")
    found = translation.gettext
    monkeypatch.setattr(
        translation, "gettext", lambda text: "%(y)s wählen" if translation.get_language() else found(text)
    )
    assert compiled.page(template).render(Context()) == template.render(Context()) == "Choose 1"


def test_what_a_page_includes_is_rendered_as_functions(write, monkeypatch):
    """And what it extends; else it would show the same, and take twice as long."""
    write(
        "<{% block a %}{{ n }}{% endblock %}{% block b %}{{ n }}{% include 'foot.html' %}{% endblock %}",
        "two.html",
    )
    template = write(
        "{% extends 'two.html' %}{% block a %}{% for i in 'ab' %}{{ i }}{% endfor %}{% endblock %}"
    )
    expected = template.render(Context({"n": 3}))
    monkeypatch.setattr(VariableNode, "render", lambda *_: pytest.fail("by Django"))
    monkeypatch.setattr(IncludeNode, "render", lambda *_: pytest.fail("by Django"))
    assert compiled.page(template).render(Context({"n": 3})) == expected


def test_an_error_of_a_page_is_raised(write):
    with pytest.raises(TemplateDoesNotExist, match=r"gone\.html"):
        compiled.page(write("{% include 'gone.html' %}")).render(Context())
    with pytest.raises(TemplateDoesNotExist, match=r"gone\.html"):
        compiled.page(write("{% extends 'gone.html' %}", "two.html")).render(Context())
    template = write("{% for a, b in items %}{% endfor %}", "three.html")
    with pytest.raises(ValueError, match="Need 2 values to unpack"):
        compiled.page(template).render(Context({"items": [1]}))


@pytest.mark.parametrize("debug", [True, False])
def test_a_view_answers_with_the_page(debug, write, rf, settings):
    settings.TEMPLATES = [
        {**settings.TEMPLATES[0], "OPTIONS": {"debug": debug, "context_processors": [PROCESSOR]}}
    ]
    write("{{ n }} {{ request.path }} {{ nothing }}{% csrf_token %}")
    response = pages.render(rf.get("/x/"), "page.html", {"n": "<"}, status=409)
    assert (response.status_code, response["Content-Type"]) == (409, "text/html; charset=utf-8")
    assert response.content.decode().startswith("&lt; /x/ <input")
    write("one\n{{ boom }}", "two.html")
    with pytest.raises(ZeroDivisionError) as raised:
        pages.render(rf.get("/"), "two.html", {"boom": lambda: 1 / 0})
    assert hasattr(raised.value, "template_debug") is debug
