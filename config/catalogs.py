"""The catalogs of translations: brought up to date with the code, and compiled for Django.

    python -m config.catalogs update                        every catalog gets what is new, and loses what is gone
    python -m config.catalogs compile django.po django.mo

Babel does it: unlike Django's own commands, it needs nothing that is no Python package.
"""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

PROJECT = Path(__file__).resolve().parent.parent
LANGUAGES = ["ar", "de"]
SOURCES = {
    "status": [
        "status/**/*.py",
        "templates/_base.html",
        "templates/status/**/*.html",
        "templates/status/**/*.txt",
    ],
    "demo": ["demo/**/*.py", "config/*.py", "templates/[!_]*.html", "templates/demo/*.html"],
}
"""What the strings of each catalog are in; that of the package has what the package brings."""

HEADER = "# What people read. Brought up to date by: make messages"

KEYWORDS: dict[str, tuple[int | tuple[int, str], ...] | None] = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "npgettext": ((1, "c"), 2, 3),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
}


def files_of(app: str) -> list[Path]:
    """The files whose strings belong to the catalog of `app`."""
    return sorted(path for pattern in SOURCES[app] for path in PROJECT.glob(pattern))


def template_of(app: str) -> Catalog:
    """Every string of `app` that people read, without translations."""
    catalog = Catalog(domain="django")
    for path in files_of(app):
        for message, context in _strings(path):
            catalog.add(message, context=context, locations=[(str(path.relative_to(PROJECT)), 0)])
    return catalog


def _strings(path: Path) -> Iterator[tuple[str | tuple[str, ...], str | None]]:
    text = path.read_text()
    if path.suffix != ".py":
        # How far a line of HTML is indented means nothing, and would be an error in Python.
        text = "\n".join(line.lstrip() for line in templatize(text, origin=str(path)).splitlines())
    code = io.BytesIO(text.encode())
    for _line, message, _comments, context in extract("python", code, keywords=KEYWORDS):
        yield message, context


def catalog_path(app: str, language: str) -> Path:
    """Where the translations of `app` into `language` are."""
    return PROJECT / app / "locale" / language / "LC_MESSAGES" / "django.po"


def read(app: str, language: str) -> Catalog:
    """The translations as they are; an empty catalog if there is none."""
    path = catalog_path(app, language)
    if not path.exists():
        return Catalog(
            locale=language, domain="django", project="django-status", fuzzy=False, header_comment=HEADER
        )
    with path.open("rb") as file:
        return read_po(file, locale=language, domain="django")


def update() -> None:
    """Bring every catalog up to date; what is new stands there without a translation."""
    for app in SOURCES:
        for language in LANGUAGES:
            catalog = read(app, language)
            template = template_of(app)
            # A date alone is no change.
            template.creation_date = catalog.creation_date
            catalog.update(template, no_fuzzy_matching=True)
            path = catalog_path(app, language)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                write_po(
                    file, catalog, width=110, sort_by_file=True, ignore_obsolete=True, include_lineno=False
                )


def compile_catalog(source: Path, target: Path) -> None:
    """Write what Django reads; without what is not translated."""
    with source.open("rb") as file:
        catalog = read_po(file, locale=source.parts[-3], domain="django")
    with target.open("wb") as file:
        write_mo(file, catalog)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["update"]:
            update()
        case ["compile", source, target]:
            compile_catalog(Path(source), Path(target))
        case _:
            sys.exit(__doc__)
