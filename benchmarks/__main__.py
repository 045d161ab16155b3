"""Runs every benchmark and writes RESULTS.md: `make bench`; or those named, without writing."""

import importlib
import os
import platform
import sys
import time
import traceback
from importlib.metadata import version
from pathlib import Path

from benchmarks.figures import Figure, table
from benchmarks.stack import Stack

RESULTS = Path(__file__).with_name("RESULTS.md")
SCRIPTS = (
    "capacity",
    "crowds",
    "steady",
    "burst",
    "many",
    "track",
    "work",
    "workers",
    "sockets",
    "pages",
    "lists",
    "dashboard",
    "scaling",
)
PACKAGES = (
    *("django", "channels", "channels-redis", "celery", "redis", "daphne", "uvicorn", "twisted", "autobahn"),
    *("uvloop", "picows", "django-htmx", "tqdm", "rich", "celery-progress"),
    "django-liveops",
)

NOT_MEASURED = """## Not measured

- Workers and web processes on more cores than two.
"""


def main() -> int:
    """Measure, print, write; the exit code says whether every bound holds."""
    began = time.monotonic()
    figures: list[Figure] = []
    with Stack() as stack:
        for name in sys.argv[1:] or SCRIPTS:
            sys.stderr.write(f"{time.monotonic() - began:4.0f} s  {name}\n")
            try:
                figures += importlib.import_module(f"benchmarks.{name}").measure(stack)
            except Exception as error:
                traceback.print_exc()
                figures.append(
                    Figure(name=name, measured=f"was not measured: {error!r}"[:200], bound="–", holds=False)
                )
    text = report(figures, time.monotonic() - began)
    if not sys.argv[1:]:
        RESULTS.write_text(text)
    print(text)
    return 0 if all(figure.holds for figure in figures) else 1


def report(figures: list[Figure], seconds: float) -> str:
    """The whole of RESULTS.md."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    limits = "\n".join(f"- **{f.name}**: {f.limit}." for f in figures if f.limit)
    return f"""# Results

Written by `make bench`, which took {seconds / 60:.0f} minutes; each script also runs alone, as
`python -m benchmarks.capacity`. Web server, worker, Redis and load client share the machine's cores; the peers are
measured in the same run. What else the machine does takes from every figure per second and not from the processor
times; the load was {os.getloadavg()[2]:.1f} in the last quarter of an hour. The capacity rows have the rate limits
opened (`FRAME_SECONDS` and `PUBLISH_SECONDS` 0), all others are as shipped. "µs each" is processor time of the web
server for each delivery.

{os.cpu_count()} cores ({_processor()}), {platform.system()} {platform.release().split("-")[0]},
{platform.python_implementation()} {platform.python_version()}; {versions}.

{table(figures)}

## What limits each figure

{limits}

{NOT_MEASURED}"""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
