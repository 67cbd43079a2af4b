"""Views that do with a session what views do."""

import json
from datetime import timedelta

import django
from django.contrib.auth import authenticate, login, logout, update_session_auth_hash
from django.http import HttpResponse, JsonResponse
from django.urls import path
from django.utils import timezone


def answer(request, **more):
    return JsonResponse({"key": request.session.session_key, **more})


def public(request):
    return HttpResponse("no session is needed here")


def whoami(request):
    return answer(request, user=request.user.pk, data=dict(request.session.items()))


def log_in(request):
    form = json.loads(request.body)
    if form.get("looks"):
        request.user.pk     # as a template or a middleware does
    login(request, authenticate(username=form["name"], password=form["password"]))
    return answer(request) if form.get("tells") else HttpResponse()


def log_out(request):
    logout(request)
    return answer(request)


def change_password(request):
    form = json.loads(request.body)
    request.user.set_password(form["password"])
    request.user.save()
    update_session_auth_hash(request, request.user)
    return answer(request) if form.get("tells") else HttpResponse()


def put(request):
    request.session.update(json.loads(request.body))
    return HttpResponse()


def pop(request):
    request.session.pop(json.loads(request.body), None)
    return HttpResponse()


def clear(request):
    request.session.clear()
    request.session.update(json.loads(request.body))
    return HttpResponse()


def cycle(request):
    request.session.cycle_key()
    return HttpResponse()


def create(request):
    request.session.create()
    return HttpResponse()


def expire(request):
    seconds, kind = json.loads(request.body)
    values = {
        "number": seconds, "timedelta": timedelta(seconds=seconds),
        "datetime": timezone.now() + timedelta(seconds=seconds)}
    request.session.set_expiry(values[kind])
    return HttpResponse()


def fail(request):
    request.session.cycle_key()
    raise RuntimeError("requested")


urlpatterns = [path(view.__name__, view) for view in (
    public, whoami, log_in, log_out, change_password, put, pop, clear, cycle, create, expire, fail)]

if django.VERSION >= (5, 1):
    from project.asynchronous import views

    urlpatterns += [path(view.__name__, view) for view in views]
