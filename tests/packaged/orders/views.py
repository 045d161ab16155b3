from celery import chord
from django.contrib.auth.decorators import login_required
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST
from status import access
from status.canvas import member
from status.jobs import start

from orders.tasks import import_orders, tell


@login_required
def orders(request):
    if request.method == "POST":
        start(import_orders.s("orders.csv"), owner=request.user, title="Orders of May")
        return redirect("orders")
    return render(request, "orders/list.html", {"jobs": request.user.status_jobs.all()[:5]})


@require_POST
@login_required
def import_all(request):
    parts = [member(import_orders.s(name), title=name, may_fail=True) for name in ("may.csv", "june.csv")]
    job = start(chord(parts, tell.si()), owner=request.user, title="Orders of two months")
    return redirect(job)


@login_required
def table(request):
    jobs = access.visible_jobs(request.user)[:50]
    return render(request, "orders/table.html", {"jobs": jobs})
