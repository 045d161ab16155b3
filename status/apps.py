"""The app's configuration."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class StatusConfig(AppConfig):
    """Connects Celery's signals, Django's logout signal and the system checks."""

    name = "status"
    verbose_name = _("Job status")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Called by Django when all apps are loaded."""
        from status import bulk as bulk  # Celery knows its task by that.
        from status import (
            checks,
            house,
            languages,
            logout,
            notifications,
            outbox,
            request_threads,
            telling,
            tracing,
        )
        from status.sources import (
            attendance,
            bodies,
            lifecycle,
            missed,
            pools,
            prune,
            remote,
            stopping,
            sweep,
        )

        checks.connect()
        languages.connect()
        logout.connect()
        request_threads.connect()
        house.connect()
        notifications.connect()
        telling.connect()
        outbox.connect()
        tracing.connect()
        bodies.connect()
        lifecycle.connect()
        pools.connect()
        attendance.connect()
        sweep.connect()
        remote.connect()
        stopping.connect()
        prune.connect()
        missed.connect()
