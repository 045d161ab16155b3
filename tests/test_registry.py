import pytest
from celery import group
from celery.canvas import Signature
from django.core.exceptions import ImproperlyConfigured

from status import registry
from status.registry import startable, startables
from tests import tasks


@pytest.fixture(autouse=True)
def own_startables(monkeypatch):
    monkeypatch.setattr(registry, "startables", {})
    return registry.startables


def test_a_task_becomes_its_own_signature(own_startables):
    decorated = startable(title="Import")(tasks.import_rows)
    entry = own_startables["import-rows"]
    assert decorated is tasks.import_rows
    assert entry.origin == "tests.tasks.import_rows"
    signature = entry.signature({"rows": 3})
    assert (signature.task, signature.kwargs) == ("tests.tasks.import_rows", {"rows": 3})


def test_a_function_makes_the_signature(own_startables):
    @startable(title="Import all")
    def import_all(counts):
        return group(tasks.import_rows.s(count) for count in counts)

    entry = own_startables["import-all"]
    assert entry.origin.endswith("import_all")
    canvas = entry.signature({"counts": [1, 2]})
    assert isinstance(canvas, Signature)
    assert [member.args for member in canvas.tasks] == [(1,), (2,)]
    assert import_all([1]).tasks, "it stays a plain function"


def test_two_of_one_name_are_refused_whatever_they_are():
    startable(title="A", name="same")(tasks.import_rows)
    startable(title="A again", name="same")(tasks.import_rows)
    with pytest.raises(ImproperlyConfigured, match=r"named 'same': tests\.tasks\.import_rows and .*other"):

        @startable(title="B", name="same")
        def other(): ...


def test_what_the_module_knows_is_what_was_registered():
    assert {"profile-csv", "render-on-the-farm"} <= set(startables)
