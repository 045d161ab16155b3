"""What the documents say is so."""

import ast
import dataclasses
import importlib
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from status.conf import Conf
from tests.processes import PROJECT

DOCUMENTS = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *sorted((PROJECT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"(?:# |\{# )([\w/]+\.(?:py|html))(?: #\})?$")


def blocks(language: str) -> list[str]:
    """The code blocks of all documents in a language."""
    found = [block for path in DOCUMENTS for block in BLOCK.findall(path.read_text())]
    return [text for name, text in found if name == language]


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def of_files() -> list[tuple[str, list[str]]]:
    """The blocks that begin with the name of a file, as that name and their lines."""
    found = []
    for text in blocks("python") + blocks("django"):
        first, *rest = lines(text)
        if match := FILE.match(first):
            found.append((match[1], rest))
    return found


@pytest.mark.parametrize(("name", "said"), of_files(), ids=[name for name, _said in of_files()])
def test_the_code_of_a_file_is_that_of_the_sample_project(name, said):
    """`tests/test_package.py` runs it; here each line must be in that file, in this order."""
    rest = iter(lines((PROJECT / "tests" / "packaged" / name).read_text()))
    for line in said:
        assert line in rest, f"{name} has no {line!r}, or not in this place"


def test_the_readme_shows_every_place_where_something_is_added():
    readme = BLOCK.findall((PROJECT / "README.md").read_text())
    named = [FILE.match(lines(text)[0])[1] for _language, text in readme if FILE.match(lines(text)[0])]
    assert named == [
        "shop/settings.py",
        "shop/asgi.py",
        "shop/urls.py",
        "templates/base.html",
        "orders/tasks.py",
        "orders/views.py",
        "orders/templates/orders/list.html",
    ]


@pytest.mark.parametrize("text", blocks("python"))
def test_python_can_be_read_and_imports_what_is_there(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("status"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


def test_the_api_table_names_what_is_there():
    rows = re.findall(
        r"^\| `(status[\w.]+)\.(\w+)\((.*?)\)` \|", (PROJECT / "README.md").read_text(), re.MULTILINE
    )
    assert len(rows) >= 10
    for module, name, parameters in rows:
        function = getattr(importlib.import_module(module), name)
        known = function.__code__.co_varnames[
            : function.__code__.co_argcount + function.__code__.co_kwonlyargcount
        ]
        assert set(parameters.split(", ")) <= set(known), f"{name}({parameters}) takes {known}"


def test_every_setting_is_documented_as_in_the_code():
    tree = ast.parse((PROJECT / "status" / "conf.py").read_text())
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Conf")
    meanings = {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
    }
    defaults = {field.name: getattr(Conf(), field.name) for field in dataclasses.fields(Conf)}
    table = [
        f"| `{name.upper()}` | `{json.dumps(default)}` | {meanings[name]} |"
        for name, default in defaults.items()
    ]
    said = [
        line for line in (PROJECT / "docs" / "settings.md").read_text().splitlines() if line.startswith("| `")
    ]
    assert said == table, "docs/settings.md should read:\n" + "\n".join(table)


def test_the_documents_name_no_other_setting():
    known = {field.name.upper() for field in dataclasses.fields(Conf)}
    for path in DOCUMENTS:
        for name in re.findall(r"STATUS\[\"(\w+)\"\]", path.read_text()):
            assert name in known, f"{path.name} names {name}"


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    text = path.read_text()
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(
        r"(?:src|srcset)=\"([^\"]+)\"", BLOCK.sub("", text)
    )
    for target in targets:
        if "://" in target:
            continue
        name, _hash, anchor = target.partition("#")
        place = (path.parent / name).resolve() if name else path
        assert place.exists(), f"{path.name} links to {target}"
        assert not anchor or anchor in anchors(place), f"{path.name} links to {target}"
