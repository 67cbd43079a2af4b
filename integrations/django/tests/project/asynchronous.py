"""The same in asynchronous views, whose methods of sessions came with Django 5.1."""

import json

from django.contrib.auth import aauthenticate, alogin, alogout, aupdate_session_auth_hash
from django.http import HttpResponse, JsonResponse


async def async_log_in(request):
    form = json.loads(request.body)
    await alogin(request, await aauthenticate(username=form["name"], password=form["password"]))
    return HttpResponse()


async def async_log_out(request):
    await alogout(request)
    return HttpResponse()


async def async_change_password(request):
    request.user = user = await request.auser()     # aupdate_session_auth_hash reads it outside of a thread
    user.set_password(json.loads(request.body)["password"])
    await user.asave()
    await aupdate_session_auth_hash(request, user)
    return HttpResponse()


async def async_put(request):
    await request.session.aupdate(json.loads(request.body))
    await request.session.asave()
    return JsonResponse({"key": request.session.session_key})


async def async_whoami(request):
    user = await request.auser()
    return JsonResponse({
        "key": request.session.session_key, "user": user.pk, "data": dict(await request.session.aitems())})


async def async_cycle(request):
    await request.session.acycle_key()
    await request.session.asave()
    return JsonResponse({"key": request.session.session_key})


views = (
    async_log_in, async_log_out, async_change_password, async_put, async_whoami, async_cycle)
