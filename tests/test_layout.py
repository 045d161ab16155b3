"""The rules that hold for the whole tree."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.processes import PROJECT

# Downhill: a module imports only what stands before it.
ORDER = [
    "status.clean",
    "status.threads",
    "status.forks",
    "status.conf",
    "status.counters",
    "status.layer",
    "status.headers",
    "status.tracing",
    "status.pace",
    "status.speed",
    "status.states",
    "status.moments",
    "status.addresses",
    "status.spelling",
    "status.likely",
    "status.durations",
    "status.windows",
    "status.events",
    "status.forms",
    "status.registry",
    "status.models.statements",
    "status.models.queries",
    "status.models.audit",
    "status.models.job",
    "status.models.notification",
    "status.models.delivery",
    "status.models.preferences",
    "status.models.parts",
    "status.models.tree",
    "status.models.tokens",
    "status.models.saved",
    "status.models.search",
    "status.models",
    "status.usual",
    "status.endings",
    "status.files",
    "status.audit",
    "status.roles",
    "status.pubsub",
    "status.channel",
    "status.links",
    "status.deliveries",
    "status.computed",
    "status.queues",
    "status.presence",
    "status.workers",
    "status.web_servers",
    "status.notifications",
    "status.telling",
    "status.mail",
    "status.webhooks",
    "status.languages",
    "status.outbox",
    "status.counts",
    "status.cursors",
    "status.filters",
    "status.searching",
    "status.canvas",
    "status.seeding",
    "status.workflow",
    "status.live",
    "status.logs",
    "status.watch",
    "status.reporter",
    "status.progress",
    "status.call_off",
    "status.jobs",
    "status.starts",
    "status.stop",
    "status.inbound",
    "status.broadcast",
    "status.schedules.due",
    "status.sources",
    "status.regions",
    "status.told",
    "status.rules",
    "status.access",
    "status.unfiltered",
    "status.listing",
    "status.choices",
    "status.bulk",
    "status.schedules",
    "status.arguments",
    "status.runs",
    "status.timeline",
    "status.appearance",
    "status.cells",
    "status.resolving",
    "status.memo",
    "status.looks",
    "status.compiled",
    "status.pages",
    "status.rendering",
    "status.wording",
    "status.page_socket",
    "status.visitors",
    "status.live_forms",
    "status.hub.together",
    "status.hub.slots",
    "status.hub.entries",
    "status.hub.listeners",
    "status.hub.painting",
    "status.hub.subscription",
    "status.hub.probe",
    "status.hub.people",
    "status.hub.arrivals",
    "status.hub.core",
    "status.hub",
    "status.consumers",
    "status.programs",
    "status.health",
    "status.routing",
    "status.logout",
    "status.request_threads",
    "status.checks",
    "status.templatetags.status",
    "status.figures",
    "status.charts",
    "status.findings",
    "status.answers",
    "status.queue_lines",
    "status.diagnosis",
    "status.house",
    "status.metrics",
    "status.templatetags",
    "status.views",
    "status.polling",
    "status.following",
    "status.terminal",
    "status.asked",
    "status.urls",
    "status.programs.views",
    "status.programs.openapi",
    "status.programs.asyncapi",
    "status.programs.documents",
    "status.programs.urls",
    "status.urls_ops",
    "status.admin",
    "status.management",
    "status.apps",
]
SOURCES = sorted((PROJECT / "status").rglob("*.py"))
HOUSE = [path for folder in ("status", "demo", "config") for path in sorted((PROJECT / folder).rglob("*.py"))]


def tracked() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [PROJECT / name for name in names.stdout.splitlines() if (PROJECT / name).is_file()]


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(PROJECT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def place(name: str) -> int:
    """Where a module stands; the longest name in ORDER that it is in."""
    inside = [known for known in ORDER if name == known or name.startswith(f"{known}.")]
    assert inside, f"{name} has no place in the order"
    return ORDER.index(max(inside, key=len))


def imported(path: Path) -> set[str]:
    """The modules that a file imports, wherever in it; not those that only a type checker reads."""
    found = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                is_module = (PROJECT / full.replace(".", "/")).with_suffix(".py").exists()
                found.add(full if is_module else node.module)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_point_downhill(path):
    name = module_name(path)
    if name == "status" or ".migrations" in name:
        return
    for other in imported(path):
        if other.startswith("status.") and other != name:
            assert place(other) <= place(name), f"{name} imports {other}, which stands above it"
        assert not other.startswith(("config", "demo", "tests")), f"{name} imports {other}"


@pytest.mark.parametrize("path", HOUSE, ids=module_name)
def test_modules_are_named_for_what_they_do(path):
    assert path.stem not in {"utils", "helpers", "common", "base", "manager", "managers", "misc"}


@pytest.mark.parametrize("path", HOUSE, ids=module_name)
def test_modules_stay_readable(path):
    if "migrations" not in path.parts:
        assert len(path.read_text().splitlines()) <= 400, "make it a package"


@pytest.mark.parametrize("path", HOUSE, ids=module_name)
def test_what_is_public_has_a_docstring(path):
    if "migrations" in path.parts or not path.read_text().strip():
        return
    tree = ast.parse(path.read_text())
    scopes = [
        tree,
        *[n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and not n.name.startswith("_")],
    ]
    for scope in scopes:
        for node in scope.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if node.name.startswith("_") or node.name == "Meta":
                    continue
                assert ast.get_docstring(node), f"{module_name(path)}.{node.name} has no docstring"


def test_only_the_sender_sends():
    """`channel.py` is the only module that touches the channel layer to send."""
    for path in HOUSE:
        if path.name != "channel.py":
            assert "group_send" not in path.read_text(), path


def test_no_file_names_a_registry_or_a_path_of_this_machine():
    words = [
        "py" + "pi.org",
        "python" + "hosted",
        "npm" + "js.org",
        "deb" + ".debian.org",
        str(PROJECT),
        "/wo" + "rk/",
    ]
    for path in tracked():
        if path.suffix in {".png", ".ico"}:
            continue
        text = path.read_text(errors="replace")
        for word in words:
            assert word not in text, f"{path} names {word}"


def test_the_lock_file_has_no_sources():
    assert re.search(r'"sources": \[\]', (PROJECT / "Pipfile.lock").read_text())
    assert "[[source]]" not in (PROJECT / "Pipfile").read_text()


def test_there_is_no_javascript_of_our_own():
    assert [path for path in tracked() if path.suffix in {".js", ".ts", ".mjs"}] == [
        PROJECT / "tailwind.config.js"
    ]


def test_prints_and_sleeps_stay_out_of_the_app():
    for path in SOURCES:
        assert not re.search(r"^\s*print\(", path.read_text(), re.MULTILINE), path
