"""For the machines that run this: `path("", include("status.urls_ops"))`."""

from django.urls import path

from status.views import operations

app_name = "status-operations"

urlpatterns = [
    path("healthz", operations.healthz, name="healthz"),
    path("readyz", operations.readyz, name="readyz"),
    path("metrics", operations.metrics, name="metrics"),
]
