"""The pages of the project that runs here."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from demo.views import site_status
from status.views import lists

urlpatterns = [
    path("", lists.index, name="home"),
    path("api/", include("status.programs.urls")),
    path("jobs/", include("status.urls")),
    path("status/", site_status, name="site-status"),
    path("login/", LoginView.as_view(template_name="login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("", include("status.urls_ops")),
]
