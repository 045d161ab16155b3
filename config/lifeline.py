"""Sees to it that no process outlives the one that started it.

All of it by means of Linux; elsewhere nothing is done here, and only an orderly end stops the children.
"""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

# Loaded before any fork: a child may not load a library between fork and exec.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """Return a `preexec_fn` that has the kernel send `number` to the child when its parent is gone.

    The kernel watches the thread that forks, so start the child from one that lives as long as the process.

        subprocess.Popen(["server"], preexec_fn=die_with_parent(signal.SIGTERM))
    """
    if _libc is None:
        return None
    parent, prctl = os.getpid(), _libc.prctl

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # It died before it was watched.
            os._exit(1)

    return tie


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own, so that `reap` can wait for it."""
    if _libc is not None:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap(group: int) -> None:
    """Wait for all adopted processes of a group, which must have been killed before."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-group, 0)
