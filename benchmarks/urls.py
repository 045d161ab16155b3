"""The project's pages; the view of celery-progress, and the number of queries, beside them."""

from celery_progress.views import get_progress
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.urls import path

from benchmarks import queries
from config.urls import urlpatterns as project

queries.count_them()


@login_not_required
def query_count(request: HttpRequest) -> HttpResponse:
    """How many queries this process has made."""
    return HttpResponse(str(queries.count()))


urlpatterns = [
    *project,
    path("celery-progress/<uuid:task_id>/", login_not_required(get_progress)),
    path("queries/", query_count),
]
