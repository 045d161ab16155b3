from django.contrib.auth.decorators import login_required
from django.shortcuts import redirect, render
from status import access
from status.jobs import start

from orders.tasks import import_orders


@login_required
def orders(request):
    if request.method == "POST":
        start(import_orders.s("orders.csv"), owner=request.user, title="Orders of May")
        return redirect("orders")
    return render(request, "orders/list.html", {"jobs": request.user.status_jobs.all()[:5]})


@login_required
def table(request):
    jobs = access.visible_jobs(request.user)[:50]
    return render(request, "orders/table.html", {"jobs": jobs})
