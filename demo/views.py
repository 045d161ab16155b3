"""The smallest live page there is."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET


@login_not_required
@require_GET
def site_status(request: HttpRequest) -> HttpResponse:
    """One sentence and one live span; anybody may see it."""
    return render(request, "site_status.html")
