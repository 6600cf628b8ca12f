"""Sign-ins: recorded, and held back after too many failures. The audit trail itself is the counter."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.audit.models import AuditEvent

WINDOW = timedelta(minutes=10)
# From one network address a person has few tries; from many, far more: otherwise anybody could keep another person out.
MAX_PER_PERSON = 10
MAX_PER_EMAIL = 100
MAX_PER_ADDRESS = 50


def client_address(request: HttpRequest) -> str:
    """The address of whoever asks: the one that the outermost trusted proxy saw, never what a client claims."""
    hops = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    if settings.TRUSTED_PROXY_COUNT and len(hops) >= settings.TRUSTED_PROXY_COUNT:
        return hops[-settings.TRUSTED_PROXY_COUNT][:60]
    return str(request.META.get("REMOTE_ADDR", ""))[:60]


def too_many_failures(*, email: str, address: str) -> bool:
    """True while this e-mail address or this network address failed too often within the window."""
    recent = AuditEvent.objects.filter(action="session.sign_in_failed", at__gt=timezone.now() - WINDOW)
    of_email, of_address = recent.filter(target_id=email.lower()[:100]), recent.filter(actor_id=address)
    return (
        of_email.filter(actor_id=address).count() >= MAX_PER_PERSON
        or of_email.count() >= MAX_PER_EMAIL
        or of_address.count() >= MAX_PER_ADDRESS
    )


def record_failure(*, email: str, address: str) -> None:
    """Keeps a failed sign-in; the address typed is kept in lower case, the password never."""
    typed = email.lower()[:100]
    audit.record(actor=Actor.visitor(address), action="session.sign_in_failed", target=("email", typed, typed))


def record_sign_in(user: Any, *, address: str) -> None:
    """Keeps a successful sign-in with the network address it came from."""
    audit.record(actor=Actor.user(user), action="session.signed_in", target=user, after={"address": address})


def record_sign_out(user: Any, *, address: str) -> None:
    """Keeps a sign-out."""
    audit.record(actor=Actor.user(user), action="session.signed_out", target=user, after={"address": address})
