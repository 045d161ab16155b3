"""The pages: `path("jobs/", include("status.urls"))`."""

from django.apps import apps
from django.urls import path

from status.views import (
    appearance,
    attachments,
    audit,
    cancellations,
    frames,
    house,
    jobs,
    lists,
    log_lines,
    members,
    no_mail,
    notifications,
    preferences,
    retries,
    saved_views,
    selections,
    starts,
    stops,
    tokens,
)

app_name = "status"

urlpatterns = [
    path("", lists.index, name="jobs"),
    path("selection/", selections.create, name="selection"),
    path("views/", saved_views.create, name="saved-views"),
    path("views/<int:view_id>/", saved_views.update, name="saved-view"),
    path("views/<int:view_id>/deletion/", saved_views.delete, name="saved-view-deletion"),
    path("new/", starts.choose, name="startables"),
    path("new/<slug:name>/", starts.new, name="start"),
    path("tokens/", tokens.index, name="tokens"),
    path("tokens/<uuid:token_id>/revocation/", tokens.revoke, name="revocation"),
    path("appearance/", appearance.create, name="appearance"),
    path("language/", appearance.speak, name="language"),
    path("audit/", audit.index, name="audit"),
    path("house/", house.index, name="house"),
    path("house/queues/<path:name>/pause/", house.pause, name="queue-pause"),
    path("house/queues/<path:name>/", house.queue, name="queue"),
    path("frame/", frames.detail, name="frame"),
    path("notifications/", notifications.index, name="notifications"),
    path("notifications/read/", notifications.read_all, name="notifications-read"),
    path("notifications/preferences/", preferences.edit, name="preferences"),
    path("notifications/preferences/secret/", preferences.renew_secret, name="preferences-secret"),
    path("notifications/preferences/test/<slug:channel>/", preferences.test, name="preferences-test"),
    path("notifications/no-mail/<str:key>/", no_mail.edit, name="no-mail"),
    path("notifications/<int:notification_id>/", notifications.detail, name="notification"),
    path("notifications/<int:notification_id>/read/", notifications.read, name="notification-read"),
    path("<uuid:job_id>/", jobs.detail, name="job"),
    path("<uuid:job_id>/cancellation/", cancellations.create, name="cancellation"),
    path("<uuid:job_id>/retry/", retries.create, name="retry"),
    path("<uuid:job_id>/members/", members.index, name="members"),
    path("<uuid:job_id>/seen/", notifications.seen, name="seen"),
    path("<uuid:job_id>/stop/", stops.create, name="stop"),
    path("<uuid:job_id>/acts/", audit.of_job, name="acts"),
    path("<uuid:job_id>/log/", jobs.log, name="log"),
    path("<uuid:job_id>/lines/", log_lines.index, name="log-lines"),
    path("<uuid:job_id>/files/<uuid:attachment_id>/", attachments.detail, name="attachment"),
]

if apps.is_installed("django_celery_beat"):
    from status.views import schedules

    urlpatterns += [
        path("schedules/", schedules.index, name="schedules"),
        path("schedules/moments/", schedules.moments, name="schedule-moments"),
        path("schedules/new/", schedules.new, name="schedule-new"),
        path("schedules/preview/", schedules.preview, name="schedule-preview"),
        path("schedules/<int:schedule_id>/", schedules.edit, name="schedule"),
        path("schedules/<int:schedule_id>/pause/", schedules.pause, name="schedule-pause"),
        path("schedules/<int:schedule_id>/resume/", schedules.resume, name="schedule-resume"),
        path("schedules/<int:schedule_id>/run/", schedules.run, name="schedule-run"),
        path("schedules/<int:schedule_id>/deletion/", schedules.delete, name="schedule-deletion"),
    ]
