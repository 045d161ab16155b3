from django.urls import include, path

from orders import views

urlpatterns = [
    path("orders/", views.orders, name="orders"),
    path("orders/all/", views.import_all, name="orders-all"),
    path("orders/table/", views.table, name="orders-table"),
]

urlpatterns += [path("jobs/", include("status.urls"))]
urlpatterns += [path("api/", include("status.programs.urls"))]
urlpatterns += [path("", include("status.urls_ops"))]
