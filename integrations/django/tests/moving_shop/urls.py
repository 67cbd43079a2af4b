"""Views that change a session with each click."""

from django.contrib.auth import authenticate, login, logout
from django.http import HttpResponse, JsonResponse
from django.urls import path


def log_in(request):
    login(request, authenticate(username=request.GET["name"], password="secret"))
    return HttpResponse()


def log_out(request):
    logout(request)
    return HttpResponse()


def click(request):
    """Counts clicks in the session of a user, and changes nothing for a visitor without one."""
    if not request.user.is_authenticated:
        return JsonResponse({"user": None})
    request.session["clicks"] = request.session.get("clicks", 0) + 1
    return JsonResponse({"user": request.user.username, "clicks": request.session["clicks"]})


urlpatterns = [path("log_in", log_in), path("log_out", log_out), path("click", click)]
