"""Starts a Valkey server for the tests, and gives them a run folder of their own.

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
    if not os.environ.get("REDIS_URL"):
        os.environ["REDIS_URL"] = surroundings.enter_context(Valkey(run_dir / "valkey")).url
    return (yield)
