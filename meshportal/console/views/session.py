"""Sign in, sign out, and the way to one's team."""

from __future__ import annotations

from typing import Any

from django.contrib import messages as flash
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views import View

from meshportal.accounts import scoping, sessions
from meshportal.console import selectors


class SignInForm(AuthenticationForm):
    """E-mail address and password; says nothing about which of the two is wrong."""

    error_messages = {
        "invalid_login": "The email address or the password is not right. Check both and try again.",
        "inactive": "The email address or the password is not right. Check both and try again.",
    }

    def clean(self) -> dict[str, Any]:
        assert self.request is not None  # LoginView always gives it.  # noqa: S101
        address, email = sessions.client_address(self.request), self.cleaned_data.get("username", "")
        if sessions.too_many_failures(email=email, address=address):
            raise ValidationError(
                "Too many sign-ins failed for this email address or from this network. Wait 10 minutes, then try again.",
                code="throttled",
            )
        try:
            return super().clean()
        except ValidationError:
            sessions.record_failure(email=email, address=address)
            raise


@method_decorator(login_not_required, name="dispatch")
class SignIn(LoginView):
    """The sign-in page. Someone who is signed in already goes straight on."""

    template_name = "registration/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        answer = super().form_valid(form)
        sessions.record_sign_in(form.get_user(), address=sessions.client_address(self.request))
        return answer


class SignOut(LogoutView):
    """Ends the session; POST only."""

    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        answer = super().post(request, *args, **kwargs)
        flash.info(request, "You are signed out.")
        return answer

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method == "POST" and request.user.is_authenticated:
            sessions.record_sign_out(request.user, address=sessions.client_address(request))
        return super().dispatch(request, *args, **kwargs)


class Home(View):
    """Goes to the person's team; with several, asks which."""

    def get(self, request: HttpRequest) -> HttpResponse:
        memberships = list(scoping.memberships_of(request.user))
        if len(memberships) == 1:
            return redirect("console:overview", team=memberships[0].team.slug)
        choices = selectors.team_choices(memberships, timezone.now())
        return render(request, "console/teams.html", {"choices": choices})
