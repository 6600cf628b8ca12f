"""The audit event. A database trigger refuses UPDATE and DELETE, so that the application cannot rewrite history."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.db import models

FIRST_HASH = "0" * 64


class AuditEvent(models.Model):
    """One act by one actor on one target, chained to the event before it by its hash (promise P10).

    Ids are plain text and labels are copies: nothing here points at a row that may go.
    """

    at = models.DateTimeField()
    actor_kind = models.CharField(max_length=20)
    actor_id = models.CharField(max_length=200)
    actor_label = models.CharField(max_length=300)
    team_id = models.CharField(max_length=40, blank=True)
    team_label = models.CharField(max_length=200, blank=True)
    action = models.CharField(max_length=80)
    target_kind = models.CharField(max_length=80)
    target_id = models.CharField(max_length=100)
    target_label = models.CharField(max_length=300)
    reason = models.TextField(blank=True)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    request_id = models.CharField(max_length=64, blank=True)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)

    class Meta:
        indexes = (
            models.Index(fields=["team_id", "-at", "-id"], name="audit_team_time"),
            models.Index(fields=["action", "-at"], name="audit_action_time"),
            models.Index(fields=["target_id", "-at"], name="audit_target_time"),
        )

    def __str__(self) -> str:
        return f"{self.action} by {self.actor_label}"

    def computed_hash(self) -> str:
        """SHA-256 over every field and the hash of the event before."""
        parts: list[Any] = [self.previous_hash, self.at.timestamp()]
        parts += [getattr(self, name) for name in _HASHED]
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


_HASHED = (
    "actor_kind",
    "actor_id",
    "actor_label",
    "team_id",
    "team_label",
    "action",
    "target_kind",
    "target_id",
    "target_label",
    "reason",
    "before",
    "after",
    "request_id",
)
