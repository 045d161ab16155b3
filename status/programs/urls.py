"""HTTP for programs: `path("api/", include("status.programs.urls"))`."""

from django.urls import path

from status.programs import views

app_name = "status_api"

urlpatterns = [
    path("jobs/", views.jobs, name="jobs"),
    path("jobs/<uuid:job_id>", views.job, name="job"),
    path("jobs/<uuid:job_id>/log", views.log, name="log"),
    path("jobs/<uuid:job_id>/files", views.files, name="files"),
    path("jobs/<uuid:job_id>/files/<uuid:attachment_id>", views.file, name="file"),
    path("jobs/<uuid:job_id>/cancellation", views.cancellation, name="cancellation"),
    path("jobs/<uuid:job_id>/retry", views.retry, name="retry"),
]
