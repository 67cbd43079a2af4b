"""The pages."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpResponse
from django.urls import include, path


def put(request):
    request.session["FOO"] = "BAR"
    request.session["_csrftoken"] = "a secret of the browser"
    return HttpResponse()



def no_content(request):
    return HttpResponse(status=204)


urlpatterns = [
    path("favicon.ico", no_content),
    path("put/", put),
    path("accounts/login/", LoginView.as_view(template_name="account/login.html"), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("devices/", include("qsessions_django.urls")),
    path("admin/", admin.site.urls),
]
