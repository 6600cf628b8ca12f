"""Abstract models and the heartbeat that proves a worker is not deaf."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django.utils import timezone


class BaseModel(models.Model):
    """A row with an unguessable id and its own times (UTC)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True


class Leased(models.Model):
    """A row that one worker at a time may work on (see :mod:`meshportal.core.lease`)."""

    lease_token = models.UUIDField(null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        abstract = True


class Waiting(Leased):
    """A row that waits for one act on it, and depends on no other row (see :mod:`meshportal.core.waiting`).

    It has ``due_at`` exactly while it waits.
    """

    due_at = models.DateTimeField(null=True, blank=True)
    tries = models.PositiveIntegerField(default=0, help_text="Counted before each try, so that one that kills is noticed.")

    class Meta:
        abstract = True


def lease_whole(name: str) -> models.CheckConstraint:
    """The constraint of every :class:`Leased` model: a token and its expiry stand together or not at all."""
    return models.CheckConstraint(
        condition=Q(lease_token__isnull=True, lease_until__isnull=True) | Q(lease_token__isnull=False, lease_until__isnull=False),
        name=name,
    )


class WorkerHeartbeat(models.Model):
    """When a canary task last came out of a queue: written by a worker, so a connected but deaf one shows (promise P7)."""

    INTERVAL = timedelta(seconds=20)
    LATE_AFTER = 3 * INTERVAL

    queue = models.CharField(max_length=40, unique=True)
    seen_at = models.DateTimeField()
    host = models.CharField(max_length=200, blank=True)

    def __str__(self) -> str:
        return f"{self.queue} at {self.seen_at:%H:%M:%S}"

    @property
    def late(self) -> bool:
        return self.late_at(timezone.now())

    def late_at(self, now: datetime) -> bool:
        """True when three beats were missed."""
        return now - self.seen_at > self.LATE_AFTER
