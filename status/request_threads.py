"""Connections to the database that end with the thread of a request.

Under ASGI each request has a thread of its own for what is not asynchronous, and the thread ends with it. What
`CONN_MAX_AGE` keeps is nobody's then, and stays open until Python's garbage collector comes by: some thirty requests
later, on PostgreSQL as many places of `max_connections`. Django's advice is to keep none under ASGI; workers, which
have the same settings, want to. (https://docs.djangoproject.com/en/5.2/ref/databases/#persistent-connections)
"""

from asgiref.sync import SyncToAsync
from django.core.signals import request_finished
from django.db import connections


def connect() -> None:
    """Close them when the request has ended; called once when the app is ready."""
    request_finished.connect(_close, dispatch_uid="status.request_threads")


def _close(**kwargs: object) -> None:
    if SyncToAsync.thread_sensitive_context.get(None) is None:
        # A thread that goes on: that of WSGI, of a test's client, or of polls.
        return
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
