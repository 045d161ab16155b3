"""The pages: `path("jobs/", include("status.urls"))`."""

from django.urls import path

from status.views import (
    attachments,
    cancellations,
    frames,
    jobs,
    lists,
    members,
    notifications,
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
    path("frame/", frames.detail, name="frame"),
    path("notifications/", notifications.index, name="notifications"),
    path("notifications/read/", notifications.read_all, name="notifications-read"),
    path("notifications/<int:notification_id>/", notifications.detail, name="notification"),
    path("notifications/<int:notification_id>/read/", notifications.read, name="notification-read"),
    path("<uuid:job_id>/", jobs.detail, name="job"),
    path("<uuid:job_id>/cancellation/", cancellations.create, name="cancellation"),
    path("<uuid:job_id>/retry/", retries.create, name="retry"),
    path("<uuid:job_id>/members/", members.index, name="members"),
    path("<uuid:job_id>/seen/", notifications.seen, name="seen"),
    path("<uuid:job_id>/stop/", stops.create, name="stop"),
    path("<uuid:job_id>/log/", jobs.log, name="log"),
    path("<uuid:job_id>/files/<uuid:attachment_id>/", attachments.detail, name="attachment"),
]
