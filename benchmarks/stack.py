"""The real thing for the benchmarks: Valkey, a database, one daphne, one worker; all on the loopback."""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any, Self

from config.valkey import Valkey


class Stack:
    """Set up on entering, gone on leaving; `web` and `worker` are processes, `user` may log in."""

    def __enter__(self) -> Self:
        self._resources = contextlib.ExitStack()
        self.folder = Path(self._resources.enter_context(tempfile.TemporaryDirectory(prefix="status-bench-")))
        valkey = self._resources.enter_context(Valkey(self.folder / "valkey"))
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "RUN_DIR": str(self.folder),
            "REDIS_URL": valkey.url,
            "DEBUG": "0",
            "SECRET_KEY": "for the benchmarks",
            "ALLOWED_HOSTS": "127.0.0.1,testserver",
        }
        import django

        django.setup()
        from django.contrib.auth import get_user_model
        from django.core.management import call_command

        from tests.processes import Web, start_worker

        call_command("migrate", verbosity=0)
        self.user = get_user_model().objects.create_user("bench")
        self.web = Web(self.folder / "web.log")
        self._resources.callback(self.web.stop)
        self.worker = start_worker(self.folder / "worker.log", "-c", "1")
        self._resources.callback(self.worker.stop)
        return self

    def __exit__(self, *error: object) -> None:
        self._resources.close()

    def page(self, path: str) -> Any:
        """A page loaded as the user, whose socket is served by `web`."""
        from django.test import Client

        from tests.conftest import Page

        client = Client()
        client.force_login(self.user)
        response = client.get(path)
        assert response.status_code == 200, response
        return Page(response.content.decode(), self.web, f"sessionid={client.cookies['sessionid'].value}")
