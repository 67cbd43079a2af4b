"""The page of devices: `path("account/devices/", include("qsessions_django.urls"))`."""

from django.urls import path

from qsessions_django.views import DevicesView, SignOutOthersView, SignOutView

app_name = "qsessions"

urlpatterns = [
    path("", DevicesView.as_view(), name="devices"),
    path("sign-out/", SignOutView.as_view(), name="sign-out"),
    path("sign-out-others/", SignOutOthersView.as_view(), name="sign-out-others"),
]
