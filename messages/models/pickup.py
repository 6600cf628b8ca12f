"""A document that somebody put into the watched folder of a mailbox, from there to its end."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from mailboxes.models import Mailbox
from meshportal.core.models import BaseModel
from messages.models.message import Message


class Stage(models.TextChoices):
    TAKING = "taking", "Being taken from the folder"
    QUEUED = "queued", "Queued as a message"
    PLACING = "placing", "Being put where its outcome belongs"
    DONE = "done", "In its place"


class FolderPickup(BaseModel):
    """One pair of ``.dat`` and ``.ctl`` (or what came of one), named after this row's id while the portal has it.

    Names are bytes, as the file server gives them: nobody says that they are text. ``folder`` is where it was taken from,
    whatever the mailbox's folder is by now. ``placed_as`` is its name without ending where it goes.
    """

    mailbox = models.ForeignKey(Mailbox, on_delete=models.PROTECT, related_name="pickups")
    folder = models.CharField(max_length=200)
    stage = models.CharField(max_length=10, choices=Stage.choices, default=Stage.TAKING)
    dat_name = models.BinaryField(blank=True)
    ctl_name = models.BinaryField(blank=True)
    message = models.OneToOneField(Message, null=True, blank=True, on_delete=models.PROTECT, related_name="pickup")
    due_at = models.DateTimeField(default=timezone.now)
    tries = models.PositiveIntegerField(default=0)

    sent = models.BooleanField(null=True, blank=True, help_text="Whether MESH took it; unknown before its outcome.")
    status_code = models.CharField(max_length=40, blank=True)
    description = models.TextField(blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    placed_as = models.BinaryField(blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(stage__in=Stage.values), name="pickup_stage"),
            models.CheckConstraint(condition=~Q(stage=Stage.QUEUED) | Q(message__isnull=False), name="pickup_queued_has_message"),
            models.CheckConstraint(
                condition=Q(stage__in=[Stage.TAKING, Stage.QUEUED], sent__isnull=True)
                | Q(stage__in=[Stage.PLACING, Stage.DONE], sent__isnull=False, ended_at__isnull=False),
                name="pickup_outcome_whole",
            ),
        )
        indexes = (
            models.Index(fields=["mailbox", "created_at"], condition=~Q(stage="done"), name="pickup_open"),
            models.Index(fields=["mailbox", "ended_at"], condition=Q(sent=False, message__isnull=True), name="pickup_failed"),
        )

    def __str__(self) -> str:
        return f"document {self.pk} of a folder"

    @property
    def base(self) -> bytes:
        """The name that its files had, without their ending."""
        return bytes(self.dat_name or self.ctl_name)[:-4]
