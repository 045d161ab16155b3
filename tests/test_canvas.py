"""Canvases taken apart, and the rows that are made of them; nothing runs."""

import json
from datetime import date

import pytest
from celery import chain, chord, group, shared_task, signature
from kombu.utils.json import dumps

from status.canvas import member, plan, read
from status.jobs import start
from status.models import Job
from status.states import Canvas
from tests.tasks import add, plus, total, touch


@shared_task(acks_late=True)
def repeatable_task():
    pass


def shape(tree):
    """A tree as nested tuples: arguments of tasks, `chain` or `group` and what is in it."""
    if tree.canvas is None:
        return tree.signature.task.rpartition(".")[2], *tree.signature.args
    return str(tree.canvas), *map(shape, tree.members)


def tasks_of(tree):
    """The signatures in a tree, in order."""
    return (
        [tree.signature]
        if tree.canvas is None
        else [task for part in tree.members for task in tasks_of(part)]
    )


def options(tree, name):
    return [task.options.get(name) for task in tasks_of(tree)]


def callbacks(tree, name):
    """For each task the tasks that it calls back, by their first argument."""
    return [[dict(call)["args"][0] for call in found or []] for found in options(tree, name)]


PAIR = ("group", ("plus", 1, 1), ("plus", 2, 2))


def pair():
    return group(plus.s(1, 1), plus.s(2, 2))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda: plus.s(1, 2), ("plus", 1, 2)),
        (lambda: chain(plus.s(1, 2), plus.s(3)), ("chain", ("plus", 1, 2), ("plus", 3))),
        (lambda: plus.s(1, 2) | plus.s(3) | plus.s(4), ("chain", ("plus", 1, 2), ("plus", 3), ("plus", 4))),
        (lambda: chain(plus.s(1, 2)), ("plus", 1, 2)),
        (pair, PAIR),
        (lambda: group(plus.s(n, n) for n in (1, 2)), PAIR),
        (lambda: group(plus.s(1, 2)), ("group", ("plus", 1, 2))),
        (lambda: group(pair(), pair()), ("group", PAIR, PAIR)),
        (lambda: chord([plus.s(1, 1), plus.s(2, 2)], total.s()), ("chain", PAIR, ("total",))),
        (lambda: chain(pair(), total.s()), ("chain", PAIR, ("total",))),
        (lambda: chord([plus.s(1, 2)], total.s()), ("chain", ("group", ("plus", 1, 2)), ("total",))),
        (lambda: chord([chain(plus.s(1, 2), plus.s(3))], total.s()),
            ("chain", ("group", ("chain", ("plus", 1, 2), ("plus", 3))), ("total",))),
        (lambda: chain(chord(pair(), total.s()), chord([plus.s(1), plus.s(2)], total.s())),
            ("chain", PAIR, ("total",), ("group", ("plus", 1), ("plus", 2)), ("total",))),
        (lambda: group(chord(pair(), total.s()), plus.s(5, 5)), ("group", ("chain", PAIR, ("total",)), ("plus", 5, 5))),
        (lambda: chord(pair(), chain(total.s(), plus.s(3))), ("chain", PAIR, ("total",), ("plus", 3))),
        (lambda: chain(add.s(1, 2), chain(touch.si("a"), chain(touch.si("b"), touch.si("c")))),
            ("chain", ("add", 1, 2), ("touch", "a"), ("touch", "b"), ("touch", "c"))),
    ],
)  # fmt: skip
def test_a_canvas_is_taken_apart(made, expected):
    assert shape(read(made())) == expected


def test_what_came_over_the_wire_is_read_as_what_was_sent():
    sent = json.loads(dumps(chain(plus.s(1, 2), group(plus.s(3), plus.s(4)), total.s())))
    pair_ = ("group", ("plus", 3), ("plus", 4))
    assert shape(read(sent)) == ("chain", ("plus", 1, 2), pair_, ("total",))


def test_chunks_are_a_group_of_what_celery_sends():
    tree = read(plus.chunks(zip(range(5), range(5), strict=True), 2))
    assert tree.canvas == Canvas.GROUP
    assert [task.task for task in tasks_of(tree)] == ["celery.starmap"] * 3
    assert [[tuple(call) for call in task.kwargs["it"]] for task in tasks_of(tree)] == [
        [(0, 0), (1, 1)],
        [(2, 2), (3, 3)],
        [(4, 4)],
    ]


@pytest.mark.parametrize(
    "made", [lambda: total.map([n] for n in (1, 2)), lambda: plus.starmap(iter([(1, 2)]))]
)
def test_a_map_is_one_task_of_a_list(made):
    tree = read(made())
    assert tree.canvas is None
    assert isinstance(tree.signature.kwargs["it"], list)
    json.loads(dumps(tree.signature))
    assert tree.title.endswith(", one after the other")


def test_an_empty_group_hands_its_empty_list_to_what_follows():
    assert shape(read(chord([], total.s()))) == ("total", [])
    inner = group(total.s(), chain(total.s(), plus.s(2)))
    tree = read(chain(plus.s(1, 1), chord([], inner)))
    chained = ("chain", ("total", []), ("plus", 2))
    assert shape(tree) == ("chain", ("plus", 1, 1), ("group", ("total", []), chained))
    # What comes before the empty group must not be put in front of its list.
    assert [task.immutable for task in tasks_of(tree)] == [False, True, True, False]
    assert shape(read(chain(group([]), touch.si("a")))) == ("touch", "a")


@pytest.mark.parametrize("made", [lambda: group([]), lambda: chain(), lambda: group(group([]), group([]))])
def test_a_canvas_without_a_task_is_refused(made):
    with pytest.raises(ValueError, match="no task in this canvas"):
        read(made())


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda: "tests.tasks.add", "not 'tests.tasks.add'"),
        (lambda: None, "not None"),
        (lambda: {"no": "task"}, "not {'no': 'task'}"),
        (lambda: plus, "signature such as"),
        (lambda: group([plus.s(1, 1)]).set(link=[touch.si("a")]), "group.*chord"),
        (lambda: chain(plus.s(1, 1), group(plus.s(1), plus.s(2))).set(link=[touch.si("a")]), "group.*chord"),
        (lambda: chord([plus.s(1, 1)]), "needs a body"),
        (lambda: signature("celery.accumulate"), "celery.accumulate"),
        (lambda: group(plus.s(1, 1), signature("celery.accumulate")), "celery.accumulate"),
    ],
)
def test_what_cannot_be_started_is_told(made, says):
    with pytest.raises(TypeError, match=says):
        read(made())


def test_immutable_links_stay_so():
    tree = read(chain(plus.s(1, 1), touch.si("a"), group(touch.si("b"), plus.s(3))))
    assert [task.immutable for task in tasks_of(tree)] == [False, True, True, False]


def test_what_is_given_to_a_chord_goes_to_its_header():
    header = ("group", ("plus", 5, 1), ("touch", "a"))
    assert shape(read(chord([plus.s(1), touch.si("a")], total.s(), args=(5,)))) == (
        "chain",
        header,
        ("total",),
    )


def test_reading_changes_nothing_in_what_was_given():
    given = chain(member(plus.s(1, 2), title="First"), group(plus.s(1), plus.s(2)).set(queue="q"), total.s())
    given.set(queue="r")
    before = dumps(given)
    read(given)
    assert dumps(given) == before


# -- what members are told ---------------------------------------------------------------------------------


def test_options_of_a_canvas_are_defaults_of_its_members():
    inner = group(plus.s(1), plus.s(2).set(queue="own"))
    tree = read(chain(plus.s(1, 1), inner, total.s()).set(queue="outer", priority=3))
    assert options(tree, "queue") == ["outer", "outer", "own", "outer"]
    assert options(tree, "priority") == [3] * 4


def test_a_canvas_hands_no_ids_down():
    tree = read(
        chain(plus.s(1, 1), plus.s(2)).set(task_id="1", root_id="2", parent_id="3", group_id="4", chord=None)
    )
    assert [dict(task.options) for task in tasks_of(tree)] == [{}, {}]


def test_a_chains_callback_is_its_last_links():
    made = chain(plus.s(1, 1), plus.s(2))
    made.link(touch.si("after"))
    assert callbacks(read(made), "link") == [[], ["after"]]


def test_a_chords_callback_is_its_bodys():
    made = chord(pair(), total.s())
    made.link(touch.si("after"))
    assert callbacks(read(made), "link") == [[], [], ["after"]]
    assert callbacks(read(chord(pair(), total.s()).set(link=[touch.si("set")])), "link") == [[], [], ["set"]]


def test_an_error_callback_is_every_members():
    made = chain(plus.s(1, 1), group(plus.s(2), plus.s(3)))
    made.link_error(touch.si("error"))
    assert callbacks(read(made), "link_error") == [["error"]] * 3
    grouped = pair()
    grouped.link_error(touch.si("error"))
    assert callbacks(read(grouped), "link_error") == [["error"]] * 2


def test_callbacks_of_a_task_are_its_own():
    first = plus.s(1, 1)
    first.link(touch.si("after"))
    first.link_error(touch.si("error"))
    tree = read(chain(first, plus.s(2)))
    assert callbacks(tree, "link") == [["after"], []]
    assert callbacks(tree, "link_error") == [["error"], []]


def test_a_member_is_what_was_said_of_it():
    tree = read(chain(member(plus.s(1, 1), title="First", weight=3, may_fail=True), plus.s(2)))
    first, second = tree.members
    assert (first.title, first.weight, first.said["may_fail"]) == ("First", 3, True)
    assert (second.title, second.weight, second.said) == ("Plus", 1, {})
    assert options(tree, "status") == [None, None]


def test_a_canvas_weighs_as_much_as_what_is_in_it_unless_something_else_was_said():
    inner = group(member(plus.s(1), weight=4), plus.s(2), member(plus.s(3), weight=0))
    assert read(chain(plus.s(1, 1), inner)).weight == 1 + 4 + 1 + 0
    assert read(chain(plus.s(1, 1), member(inner, weight=0.5))).weight == 1.5


def test_a_canvas_of_which_something_was_said_is_a_member_of_its_own():
    inner = chain(plus.s(1), plus.s(2))
    assert shape(read(group(plus.s(1, 1), member(chain(plus.s(1, 1)), title="One link")))) == (
        "group",
        ("plus", 1, 1),
        ("chain", ("plus", 1, 1)),
    )
    tree = read(chain(pair(), member(chord([plus.s(1)], inner), title="Named")))
    assert [part.title for part in tree.members] == ["2 × Plus", "Named"]


def test_what_was_said_of_a_group_holds_for_the_header_of_a_chord():
    header = member(pair(), title="Header", weight=7, may_fail=True)
    for made in (chord(header, total.s()), chain(header, total.s()), header | total.s() | plus.s(1)):
        tree = read(json.loads(dumps(made)))
        assert shape(tree)[:3] == ("chain", PAIR, ("total",))
        assert tree.members[0].said == {"title": "Header", "weight": 7, "may_fail": True}
        assert all(dict(task.options) == {} for task in tasks_of(tree))
    assert read(header).title == "Header"
    assert read(group(header, plus.s(3, 3))).members[0].title == "Header"


@pytest.mark.parametrize(
    ("made", "title"),
    [
        (lambda: plus.s(1, 1), "Plus"),
        (lambda: chain(plus.s(1, 1), add.s(2)), "Plus → Add"),
        (lambda: chain(plus.s(1, 1), *[plus.s(2)] * 4), "Plus → Plus → Plus → Plus → …"),
        (pair, "2 × Plus"),
        (lambda: group(plus.s(1, 1), add.s(1, 1)), "Group of 2"),
        (lambda: member(pair(), title="Both"), "Both"),
        (lambda: plus.starmap([(1, 2)]), "Plus, one after the other"),
    ],
)
def test_what_was_given_no_title_is_named_by_what_is_in_it(made, title):
    assert read(made()).title == title


def test_a_weight_is_not_negative():
    with pytest.raises(ValueError, match="negative: -1"):
        member(plus.s(1, 1), weight=-1)


def test_member_leaves_the_signature_that_it_was_given_alone():
    given = plus.s(1, 1)
    member(given, title="Named")
    assert given.options == {}


# -- rows --------------------------------------------------------------------------------------------------


def planned(made, **fields):
    tree = read(made)
    job = Job(title="Whole", **fields)
    return job, plan(job, tree)


def test_a_single_task_has_no_members():
    job, rows = planned(plus.s(1, 2).set(queue="q"))
    assert rows == []
    assert (job.canvas, job.task, job.queue, job.signature["args"]) == ("", "tests.tasks.plus", "q", [1, 2])
    assert job.sent_at is None


def test_rows_know_their_parents_places_and_weights():
    made = chain(
        member(plus.s(1, 1), title="First", weight=2),
        group(plus.s(1), chain(member(plus.s(2), may_fail=True), plus.s(3))),
        total.s(),
    )
    job, rows = planned(made)
    assert job.canvas == Canvas.CHAIN
    assert job.task == "celery.chain"
    names = {job.pk: "whole"} | {row.pk: f"{names_}" for names_, row in zip("abcdefg", rows, strict=False)}
    assert [
        (
            names[row.pk],
            names[row.parent_id],
            row.position,
            row.weight,
            str(row.canvas),
            row.held,
            row.may_fail,
        )
        for row in rows
    ] == [
        ("a", "whole", 0, 2, "", False, False),
        ("b", "whole", 1, 3, "group", True, False),
        ("c", "b", 0, 1, "", True, False),
        ("d", "b", 1, 2, "chain", True, False),
        ("e", "d", 0, 1, "", True, True),
        ("f", "d", 1, 1, "", True, False),
        ("g", "whole", 2, 1, "", True, False),
    ]
    assert {row.root_id for row in rows} == {job.pk}
    assert (job.root_id, job.parent_id) == (None, None)


def test_only_what_somebody_waits_for_passes_its_result_on():
    _job, rows = planned(chain(plus.s(1, 1), group(plus.s(1), chain(plus.s(2), plus.s(3))), total.s()))
    assert [row.passes for row in rows] == [True, True, True, True, True, True, False]
    _job, rows = planned(group(plus.s(1, 1), chain(plus.s(1, 1), plus.s(2))))
    assert [row.passes for row in rows] == [False, False, True, False]


def test_what_runs_first_is_not_held_back():
    job, rows = planned(group(chain(plus.s(1, 1), plus.s(2)), chord([plus.s(1, 1)], total.s())))
    assert not job.held
    assert [row.title for row in rows if not row.held and not row.canvas] == ["Plus", "Plus"]
    assert [row.held for row in rows] == [False, False, True, False, False, False, True]
    # A canvas has no message; only those that have begun are looked after.
    canvases = [job, *(row for row in rows if row.canvas)]
    assert all(row.sent_at == row.refreshed_at == job.created_at for row in canvases)
    held = planned(chain(plus.s(1, 1), pair()))[1][1]
    assert (held.held, held.sent_at, held.refreshed_at) == (True, None, None)


def test_members_take_over_whose_the_whole_is(django_user_model):
    owner = django_user_model(username="x")
    job, rows = planned(chain(plus.s(1, 1), pair()), owner=owner, repeatable=True)
    assert all((row.owner, row.repeatable, row.created_at) == (owner, True, job.created_at) for row in rows)


def test_a_task_that_acknowledges_late_is_safe_to_repeat():
    _job, rows = planned(group(plus.s(1, 1), repeatable_task.s()))
    assert [row.repeatable for row in rows] == [False, True]


def test_an_argument_that_is_no_json_is_refused_before_anything_is_written(db):
    with pytest.raises(TypeError, match="tests.tasks.plus cannot be written as JSON"):
        start(chain(add.s(1, date(2026, 1, 1)), group(plus.s(object()), plus.s(2))))
    assert not Job.objects.exists()


def test_a_long_title_is_cut():
    job, rows = planned(group(member(plus.s(1, 1), title="x" * 300)))
    assert len(rows[0].title) == 255
    assert job.title == "Whole"
