"""Middleware of the composition root: request ids on every log line, session limits, pages that no cache keeps."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from django.conf import settings
from django.contrib import messages as flash
from django.contrib.auth import logout
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponse
from django.utils.cache import add_never_cache_headers

from meshportal.audit import context
from meshportal.web import fragments

Handler = Callable[[HttpRequest], HttpResponse]
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}")


class RequestContextMiddleware:
    """Gives each request an id (a well-formed inbound ``X-Request-ID`` is kept) that logs and audit events share."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        with context.request(request_id), structlog.contextvars.bound_contextvars(request_id=request_id):
            response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


class SignInMiddleware(LoginRequiredMiddleware):
    """Nothing but what says so is served to strangers. Also in a fetch, the way to the sign-in page leads back."""

    def handle_no_permission(self, request: HttpRequest, view_func: Any) -> Any:
        return fragments.to_sign_in(request)


class SessionLimitMiddleware:
    """Signs a person out after an idle time and after a hard limit, whatever the browser's cookie says."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            now = int(time.time())
            began = request.session.setdefault("began", now)
            seen = request.session.get("seen", now)
            if now - began > settings.SESSION_HARD_SECONDS or now - seen > settings.SESSION_IDLE_SECONDS:
                logout(request)
                flash.info(request, "You were signed out after a time without use. Sign in to go back to where you were.")
                return fragments.to_sign_in(request)
            # A page that refreshes by itself must not keep an unattended session alive.
            by_itself = request.headers.get("X-Portal-Refresh") == "1"
            if (not by_itself and now - seen > 60) or "seen" not in request.session:
                request.session["seen"] = now
        return self.get_response(request)


class PrivatePagesMiddleware:
    """Pages for a signed-in person are never kept by a shared or private cache."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if request.user.is_authenticated and not response.has_header("Cache-Control"):
            add_never_cache_headers(response)
        return response
