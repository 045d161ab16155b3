from django.contrib.auth import get_user_model
from django.db.models import Q
from status.rules import Rule


class TenantRule(Rule):
    def visible(self, user, jobs):
        colleagues = get_user_model().objects.filter(groups__in=user.groups.all())
        return jobs.filter(Q(owner=user) | Q(owner__in=colleagues))

    def sees_all(self, user):
        return user.is_superuser
