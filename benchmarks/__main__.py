"""Runs every benchmark and writes RESULTS.md: `make bench`."""

import platform
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks import burst, latency, track
from benchmarks.figures import Figure
from benchmarks.stack import Stack

RESULTS = Path(__file__).with_name("RESULTS.md")
PACKAGES = ("django", "channels", "channels-redis", "celery", "redis", "daphne", "django-htmx", "tqdm")


def table(figures: list[Figure]) -> str:
    """The figures as Markdown."""
    rows = [f"| {f.name} | {f.measured} | {f.bound} | {'yes' if f.holds else '**no**'} |" for f in figures]
    return "\n".join(["| figure | measured | bound | holds |", "|---|---|---|---|", *rows])


def main() -> int:
    """Measure, print, write; the exit code says whether every bound holds."""
    with Stack() as stack:
        # Settings are read once, and the stack sets the environment for them.
        figures = track.measure()
        figures += latency.measure(stack)
        figures += burst.measure(stack)
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    text = (
        "# Results\n\n"
        "Written by `make bench`; each script also runs alone, as `python -m benchmarks.track`.\n\n"
        f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}; {versions}.\n\n"
        f"{table(figures)}\n"
    )
    RESULTS.write_text(text)
    print(text)
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
