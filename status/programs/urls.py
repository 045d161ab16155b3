"""HTTP for programs: `path("api/", include("status.programs.urls"))`."""

from django.urls import path

from status.programs import documents, views

app_name = "status_api"

urlpatterns = [
    path("openapi.json", documents.of_http, name="openapi"),
    path("asyncapi.json", documents.of_socket, name="asyncapi"),
    path("jobs/", views.jobs, name="jobs"),
    path("jobs/<uuid:job_id>", views.job, name="job"),
    path("jobs/<uuid:job_id>/log", views.log, name="log"),
    path("jobs/<uuid:job_id>/files", views.files, name="files"),
    path("jobs/<uuid:job_id>/files/<uuid:attachment_id>", views.file, name="file"),
    path("jobs/<uuid:job_id>/cancellation", views.cancellation, name="cancellation"),
    path("jobs/<uuid:job_id>/retry", views.retry, name="retry"),
]
