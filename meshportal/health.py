"""Health for machines: ``/livez`` (the process answers), ``/readyz`` (it can serve), ``/healthz`` (mail is moving).

They need no sign-in and name no team, mailbox or message.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from mailboxes import selectors as mailboxes
from meshportal.celery import QUEUES
from meshportal.core import heartbeats


@login_not_required
@never_cache
@require_safe
def livez(request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers."""
    return HttpResponse("ok", content_type="text/plain")


@login_not_required
@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when the database answers and every migration is applied, else 503 with the reason."""
    try:
        executor = MigrationExecutor(connection)
        waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return HttpResponse("the database does not answer", status=503, content_type="text/plain")
    if waiting:
        return HttpResponse(f"{len(waiting)} migrations are not applied", status=503, content_type="text/plain")
    return HttpResponse("ok", content_type="text/plain")


@login_not_required
@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """503 when a queue's canary is late, or a due mailbox has waited too long: silence is an alarm (promise P7)."""
    try:
        queues = queue_health()
        overdue = mailboxes.overdue_count()
    except DatabaseError:
        return JsonResponse({"ok": False, "database": "does not answer"}, status=503)
    ok = all(state["ok"] for state in queues.values()) and not overdue
    return JsonResponse({"ok": ok, "queues": queues, "overdue_mailboxes": overdue}, status=200 if ok else 503)


def queue_health() -> dict[str, dict[str, Any]]:
    """For each queue: whether its canary is on time, and when it was last seen (ISO 8601, UTC)."""
    return {
        state.queue: {"ok": state.ok, "seen_at": state.seen_at.isoformat(timespec="seconds") if state.seen_at else None}
        for state in heartbeats.queue_health(QUEUES)
    }
