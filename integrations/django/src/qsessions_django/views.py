"""The page on which people see where they are signed in, and sign out there.

It needs no scripts, and a Content-Security-Policy need not allow any inline style. Templates are
`qsessions_django/devices.html` and those that it includes; a project replaces them in its own templates.
"""

import uuid
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import redirect_to_login
from django.http import HttpResponseBadRequest, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_variables
from django.views.generic import TemplateView, View

from qsessions_django import sql
from qsessions_django.devices import sign_ins_of, sign_out_others

DONE = ("signed-out", "signed-out-others")


@method_decorator([never_cache, csrf_protect], "dispatch")
class DevicesView(LoginRequiredMixin, TemplateView):
    """Shows the devices on which the user is signed in, and the last sign-ins if events are recorded.

    `sign_ins` is the number of sign-ins; 0 shows none.
    """

    template_name = "qsessions_django/devices.html"
    sign_ins = 10

    def get_context_data(self, **kwargs):
        """Adds `done`, what the user has just done, and `sign_ins`. The devices come from the template tag."""
        done = self.request.GET.get("done")
        sign_ins = sign_ins_of(self.request.user, self.sign_ins) if self.sign_ins else []
        return super().get_context_data(done=done if done in DONE else None, sign_ins=sign_ins, **kwargs)


@method_decorator([never_cache, csrf_protect], "dispatch")
class FormView(LoginRequiredMixin, View):
    """What a form of the page is posted to. It needs the token of the form even without Django's middleware for it."""

    http_method_names = ["post", "options"]

    def handle_no_permission(self):
        """Leads to the devices after the sign-in, because a browser would GET this address."""
        return redirect_to_login(reverse("qsessions:devices"), self.get_login_url(), self.get_redirect_field_name())


class SignOutView(FormView):
    """Ends one session of the user, whose id is the field `id` of a form."""

    @method_decorator(sensitive_variables("key"))
    def post(self, request):
        """Answers with a redirect to the devices; after the end of this very session, to the page after a logout."""
        try:
            chosen = uuid.UUID(request.POST.get("id", ""))
        except ValueError:
            return HttpResponseBadRequest("The field id must be the id of a session.", content_type="text/plain")
        key = request.session.session_key
        if key and sql.session_id(key) == str(chosen):
            logout(request)
            return HttpResponseRedirect(resolve_url(settings.LOGOUT_REDIRECT_URL or settings.LOGIN_URL))
        sql.revoke_session(chosen, request.user.pk)
        return to_devices("signed-out")


class SignOutOthersView(FormView):
    """Ends all sessions of the user but the one of the request."""

    def post(self, request):
        """Answers with a redirect to the devices."""
        sign_out_others(request.user, request.session.session_key)
        return to_devices("signed-out-others")


def to_devices(done):
    """Returns a redirect to the devices that says what the user has done."""
    return HttpResponseRedirect(f"{reverse('qsessions:devices')}?{urlencode({'done': done})}")
