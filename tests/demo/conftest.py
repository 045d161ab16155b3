"""What a demo's tasks find and leave, for tests that call them as functions."""

import pytest
from django.core.files.base import ContentFile

from status.models import Attachment, Job


@pytest.fixture
def stored(alice):
    """Stores a file as an input of a job."""
    job = Job.objects.create(task="t", title="T", owner=alice)

    def store(name: str, data: bytes) -> str:
        attachment = Attachment(job=job, field="files", role="input", name=name, size=len(data))
        attachment.file.save(name, ContentFile(data), save=True)
        return str(attachment.pk)

    return store


@pytest.fixture
def logged_in_module(monkeypatch):
    """Takes the place of a module's `log`; returns the lines that it will have been given."""

    def take_place(module) -> list[str]:
        lines: list[str] = []
        monkeypatch.setattr(
            module, "log", lambda text, *args, level=20: lines.append(text % args if args else text)
        )
        return lines

    return take_place
