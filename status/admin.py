"""The admin's view of jobs: to look at, not to change."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from status.models import Attachment, Delivery, Job, Notification, Token, Topic


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]  # Not generic at run time.
    """Rows are written by the app alone: a hand-edited state would be a lie."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False


@admin.register(Job)
class JobAdmin(ReadOnly):
    """Jobs."""

    list_display = ["title", "task", "owner", "state", "attempt", "created_at", "finished_at"]
    list_filter = ["state", "failure", "task"]
    list_select_related = ["owner"]
    search_fields = ["title", "task", "key"]
    date_hierarchy = "created_at"
    show_full_result_count = False


@admin.register(Attachment)
class AttachmentAdmin(ReadOnly):
    """Files of jobs."""

    list_display = ["name", "job", "role", "size", "created_at"]
    list_select_related = ["job"]


@admin.register(Topic)
class TopicAdmin(ReadOnly):
    """Retained values of topics."""

    list_display = ["name", "version", "updated_at"]


@admin.register(Token)
class TokenAdmin(ReadOnly):
    """Personal tokens, without their hashes."""

    list_display = ["name", "user", "scope", "created_at", "last_used_at", "expires_at", "revoked_at"]
    list_select_related = ["user"]


@admin.register(Notification)
class NotificationAdmin(ReadOnly):
    """What people were told."""

    list_display = ["title", "owner", "kind", "created_at", "read_at"]
    list_filter = ["kind"]
    list_select_related = ["owner"]
    show_full_result_count = False


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly):
    """What went out, or could not."""

    list_display = ["notification", "user", "channel", "state", "tries", "error", "created_at", "tried_at"]
    list_filter = ["channel", "state"]
    list_select_related = ["notification", "user"]
    show_full_result_count = False
