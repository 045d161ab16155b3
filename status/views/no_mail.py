"""The way out of the e-mails, for whoever has one of them."""

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from status.mail import who_leaves
from status.models import Delivery, Preferences
from status.pages import render


@require_http_methods(["GET", "POST"])
@csrf_exempt
@login_not_required
@never_cache
def edit(request: HttpRequest, key: str) -> HttpResponse:
    """A GET asks; a POST ends the e-mails to whom the key was made for, and may come from a mail program.

    Such a POST has no cookies and no token of ours (RFC 8058, section 3.2): the key in the address allows it.
    """
    user = who_leaves(key)
    if user is None:
        raise Http404("No such key.")
    if request.method == "POST":
        Preferences.objects.choose_none(user, Delivery.Channel.EMAIL)
    return render(request, "status/no_mail.html", {"is_done": request.method == "POST"})
