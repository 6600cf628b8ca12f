"""Many mailboxes at one word: a file that adds and changes them, and the examination of all their connections."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from certificates.models import Environment
from mailboxes.models.kept import KeptUpload
from mailboxes.models.mailbox import Mailbox
from meshportal.accounts.models import Gesture
from meshportal.core.fields import SealedJSONField
from meshportal.core.models import BaseModel, Waiting, lease_whole


class Examination(Gesture):
    """The connection doctor over many mailboxes, each with a row."""

    environment = models.CharField(max_length=10, choices=Environment.choices)
    asked_at = models.DateTimeField(help_text="When somebody last asked for it, of all or of those that failed.")

    def __str__(self) -> str:
        return f"examination {self.short_id}"


class Finding(models.TextChoices):
    """What the doctor said of a mailbox."""

    WAITING = "waiting", "Waiting its turn"
    GOOD = "good", "Connects"
    WARN = "warn", "Connects, look at this"
    BAD = "bad", "Does not connect"


class ExaminationRow(Waiting, BaseModel):
    """One mailbox of an examination. It has ``due_at`` exactly while it waits."""

    examination = models.ForeignKey(Examination, on_delete=models.PROTECT, related_name="rows")
    mailbox = models.ForeignKey(Mailbox, on_delete=models.PROTECT, related_name="examination_rows")
    finding = models.CharField(max_length=10, choices=Finding.choices, default=Finding.WAITING)
    found = models.TextField(blank=True)
    remedy = models.TextField(blank=True)
    examined_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["examination", "mailbox"], name="examination_row_once"),
            models.CheckConstraint(
                condition=Q(finding=Finding.WAITING, due_at__isnull=False)
                | Q(finding__in=(Finding.GOOD, Finding.WARN, Finding.BAD), due_at__isnull=True, examined_at__isnull=False),
                name="examination_row_finding",
            ),
            lease_whole("examination_row_lease_whole"),
        )
        indexes = (models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="examination_row_due"),)

    def __str__(self) -> str:
        return f"row of examination {self.examination_id} for mailbox {self.mailbox_id}"


class MailboxImport(KeptUpload):
    """A file of mailboxes. ``rows`` are those of the file, as numbers and values: they may hold passwords.

    ``plan`` is what they do, in words without secrets (:class:`mailboxes.importing.Line`); ``digest`` is that of the plan, and
    stands for what the person saw.
    """

    SEALED = "rows"
    DISCARDED = "mailbox_import.discarded"

    rows = SealedJSONField(null=True, blank=True)
    plan = models.JSONField(default=list)
    notes = models.JSONField(default=list, help_text="What was said of the file itself, as sentences.")
    digest = models.CharField(max_length=64)
    reason = models.TextField(blank=True)
    examination = models.OneToOneField(
        Examination, null=True, blank=True, on_delete=models.PROTECT, related_name="mailbox_import"
    )

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(rows__isnull=False, ended_at__isnull=True) | Q(rows__isnull=True, ended_at__isnull=False),
                name="import_holds_rows_until_its_end",
            ),
            models.CheckConstraint(
                condition=Q(applied_at__isnull=True, examination__isnull=True)
                | Q(ended_at__isnull=False, applied_at__isnull=False),
                name="import_applied_at_its_end",
            ),
        )
        indexes = (models.Index(fields=["team", "-created_at", "-id"], name="import_team_time"),)

    def __str__(self) -> str:
        return f"mailbox import {self.short_id}"
