"""Visits the shop as its owner would, and tells in JSON what came: `python visit.py`."""

import json
import os
import re
import sys
from pathlib import Path

import django
from django.apps import apps

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()

from django.contrib.auth import get_user_model
from django.contrib.staticfiles.finders import find
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from status.jobs import cancel, start

from orders import tasks

Path("orders.csv").write_text("".join(f"order {number}\n" for number in range(40)))
for name in ("may.csv", "june.csv"):
    Path(name).write_text("order\n")
owner, _made = get_user_model().objects.get_or_create(username="owner", is_superuser=True)
client = Client()
client.force_login(owner)
pages = {
    "/orders/": client.post("/orders/", follow=True),
    "/orders/all/": client.post("/orders/all/", follow=True),
}
upload = {"file": SimpleUploadedFile("may.csv", b"1\n2\n"), "start_key": "k"}
others = [
    start(tasks.import_in_steps.s("orders.csv"), owner=owner),
    start(tasks.nightly.s(), owner=owner),
    start(tasks.fetch_all.s(["a", "b", "c"]), owner=owner),
    start(tasks.fetch_all_async.s(["a", "b", "c"]), owner=owner),
    start(tasks.tell.s(), owner=owner),
]
cancelled = cancel(start(tasks.export.s("export.txt"), owner=owner))
paths = [
    "/orders/table/",
    "/jobs/",
    "/jobs/new/",
    "/jobs/new/import-upload/",
    "/jobs/new/import-many/",
    cancelled.get_absolute_url(),
]
pages |= {path: client.get(path) for path in paths}
html = {path: page.content.decode() for path, page in pages.items()}
named = set(re.findall(r'"/static/([^"?]+)', "".join(html.values())))
sys.stdout.write(
    json.dumps(
        {
            "app": apps.get_app_config("status").path,
            "codes": {path: page.status_code for path, page in pages.items()},
            "html": html,
            "files": {name: find(name) for name in named},
            "upload": client.post("/jobs/new/import-upload/", upload).status_code,
            "cookie": f"sessionid={client.cookies['sessionid'].value}",
        }
    )
)
