"""The pages of the project that runs here."""

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from demo.views import site_status
from status.views import jobs


@login_not_required
def healthz(request: HttpRequest) -> HttpResponse:
    """Alive: this process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


urlpatterns = [
    path("", jobs.index, name="home"),
    path("api/", include("status.programs.urls")),
    path("jobs/", include("status.urls")),
    path("status/", site_status, name="site-status"),
    path("login/", LoginView.as_view(template_name="login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("healthz", healthz, name="healthz"),
]
