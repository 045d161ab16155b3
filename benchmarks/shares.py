"""A part of a core for a process, so that a few of them on two cores show what as many on cores of their own would.

By the control groups of Linux, which takes root: https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
and https://docs.kernel.org/scheduler/sched-bwc.html for the first version.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

GROUPS = Path("/sys/fs/cgroup")
PERIOD_MICROSECONDS = 10_000


@contextlib.contextmanager
def held(shares: Iterable[Iterable[psutil.Process]], part: float) -> Iterator[bool]:
    """Hold the processes of each share, together, to `part` of a core; gives whether this machine can do that."""
    with contextlib.ExitStack() as groups:
        try:
            for number, processes in enumerate(shares):
                groups.enter_context(_group(f"status-bench-{os.getpid()}-{number}", processes, part))
        except OSError:
            groups.close()
            yield False
            return
        yield True


@contextlib.contextmanager
def _group(name: str, processes: Iterable[psutil.Process], part: float) -> Iterator[None]:
    quota = round(part * PERIOD_MICROSECONDS)
    is_first = (GROUPS / "cpu").is_dir()
    parent = GROUPS / "cpu" if is_first else GROUPS
    group = parent / name
    group.mkdir()
    try:
        if is_first:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {PERIOD_MICROSECONDS}")
        for process in processes:
            (group / "cgroup.procs").write_text(str(process.pid))
        yield
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                (parent / "cgroup.procs").write_text(pid)
        group.rmdir()
