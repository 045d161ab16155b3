from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DemoConfig(AppConfig):
    """Jobs on real input, with their forms."""

    name = "demo"
    verbose_name = _("Demo jobs")

    def ready(self) -> None:
        """Register the startable tasks in the web process too; workers find them by autodiscovery."""
        import demo.monthly_report
        import demo.renders
        import demo.tasks
        import demo.thumbnails  # noqa: F401
