"""The folder of a mailbox, as whoever looks at it for documents to send keeps it."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from mailboxes.models.mailbox import Mailbox
from meshportal.core.models import BaseModel, Leased, lease_whole


class WatchedFolder(Leased, BaseModel):
    """A row of its own rather than the mailbox's, so that a large document being read keeps nobody from polling.

    It stays when the mailbox stops sending from its folder: what was taken still comes to an end. ``problem`` and its
    companions say why the folder as a whole cannot be worked; it is tried again with growing gaps.
    """

    mailbox = models.OneToOneField(Mailbox, on_delete=models.PROTECT, related_name="watched_folder")
    due_at = models.DateTimeField(default=timezone.now)
    looked_at = models.DateTimeField(null=True, blank=True, help_text="When the folder was last worked without a problem.")
    failures = models.PositiveIntegerField(default=0, help_text="In a row.")
    problem_code = models.CharField(max_length=40, blank=True)
    problem = models.TextField(blank=True)
    problem_advice = models.TextField(blank=True)
    problem_since = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (lease_whole("folder_lease_whole"),)
        indexes = (models.Index(fields=["due_at"], name="folder_due"),)

    def __str__(self) -> str:
        return f"folder of {self.mailbox_id}"
