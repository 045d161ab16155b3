"""Gives each process of the tests a Valkey server and a run folder of its own.

Loaded with `-p tests.plugin`, as settings read the environment before any conftest is imported.
"""

import contextlib
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from config.valkey import Valkey


# As a wrapper it comes before pytest-django, which reads the settings in the same hook.
@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    surroundings = contextlib.ExitStack()
    early_config.add_cleanup(surroundings.close)
    run_dir = Path(surroundings.enter_context(tempfile.TemporaryDirectory(prefix="status-tests-")))
    os.environ["RUN_DIR"] = str(run_dir)
    # A process of pytest-xdist inherits the URL of the one that hands out the tests, and channels have no database of
    # their own within a server: they would hear of each other's jobs.
    if not os.environ.get("REDIS_URL") or "PYTEST_XDIST_WORKER" in os.environ:
        os.environ["REDIS_URL"] = surroundings.enter_context(Valkey(run_dir / "valkey")).url
    return (yield)
