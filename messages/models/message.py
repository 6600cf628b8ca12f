"""One message in one direction of one mailbox."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Concat, Upper

from certificates.models import Environment
from mailboxes.models import Mailbox
from meshportal.accounts.models import TeamOwned
from meshportal.core.fields import SealedJSONField, SealedTextField
from messages.states import HELD, IN, OUT, Direction, State


class MessageType(models.TextChoices):
    DATA = "DATA", "Message"
    REPORT = "REPORT", "Report"


class Message(TeamOwned):
    """What the portal knows of a message. The body is a :class:`Payload`; what happened is its events.

    Sender-controlled text (file name, subject, local id, workflow id) comes from another organisation: it is cut to
    its column, never used as a path, and escaped wherever it is shown. Subjects and addresses that can hold patient
    data are sealed.
    """

    mailbox = models.ForeignKey(Mailbox, on_delete=models.PROTECT, related_name="mesh_messages")
    environment = models.CharField(max_length=10, choices=Environment.choices)
    direction = models.CharField(max_length=3, choices=Direction.choices)
    mesh_id = models.CharField("message ID", max_length=100, blank=True)
    message_type = models.CharField(max_length=10, choices=MessageType.choices, default=MessageType.DATA)
    state = models.CharField(max_length=20, choices=State.choices)

    workflow_id = models.CharField("workflow ID", max_length=300, blank=True)
    sender = models.CharField(max_length=100, blank=True)
    recipient_mailbox = models.CharField(max_length=100, blank=True)
    recipient_sealed = SealedTextField(null=True, blank=True)
    subject = SealedTextField(null=True, blank=True)
    local_id = models.CharField("local ID", max_length=300, blank=True)
    file_name = models.CharField(max_length=300, blank=True)
    content_type = models.CharField(max_length=200, blank=True)
    checksum = models.CharField(max_length=100, blank=True)
    headers = SealedJSONField(null=True, blank=True, help_text="Every MESH header received, by lower-case name.")
    size = models.BigIntegerField(null=True, blank=True, help_text="Bytes of the clear body.")
    chunk_count = models.PositiveIntegerField(null=True, blank=True)

    status_code = models.CharField(max_length=40, blank=True)
    status_event = models.CharField(max_length=40, blank=True)
    status_description = models.CharField(max_length=500, blank=True)
    status_at = models.DateTimeField(null=True, blank=True)
    linked_mesh_id = models.CharField(max_length=100, blank=True)
    linked_message = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="reports")

    seen_at = models.DateTimeField(help_text="When the portal first saw the message in a listing.")
    sent_at = models.DateTimeField(null=True, blank=True, help_text="When MESH accepted it, as far as is known.")
    stored_at = models.DateTimeField(null=True, blank=True)
    acknowledged_at = models.DateTimeField(null=True, blank=True, help_text="By us, or by the recipient of a sent message.")
    attempts = models.PositiveIntegerField(default=0, help_text="Downloads begun since the last person asked for a retry.")
    faults = models.PositiveIntegerField(default=0, help_text="Those that failed by the message's own fault.")
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    problem_code = models.CharField(max_length=40, blank=True)
    problem = models.TextField(blank=True)
    problem_advice = models.TextField(blank=True)

    search = models.GeneratedField(
        expression=Upper(
            Concat(F("mesh_id"), Value("\n"), F("local_id"), Value("\n"), F("file_name"), output_field=models.TextField())
        ),
        output_field=models.TextField(),
        db_persist=True,
    )

    # MESH API specification, Message expiration.
    INBOX_LIFE: ClassVar[timedelta] = timedelta(days=5)
    LIFE: ClassVar[timedelta] = timedelta(days=30)

    class Meta:
        constraints = (
            # A message that is not sent yet has no id.
            models.UniqueConstraint(
                fields=["environment", "mailbox", "direction", "mesh_id"], condition=~Q(mesh_id=""), name="message_once"
            ),
            models.CheckConstraint(
                condition=Q(direction=Direction.IN, state__in=[str(state) for state in IN])
                | Q(direction=Direction.OUT, state__in=[str(state) for state in OUT]),
                name="message_state",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=[State.UPLOADING, State.ACCEPTED, State.COLLECTED]) | ~Q(mesh_id=""),
                name="message_accepted_has_id",
            ),
            models.CheckConstraint(condition=Q(environment__in=Environment.values), name="message_environment"),
            models.CheckConstraint(
                condition=~Q(state__in=[str(state) for state in HELD]) | Q(stored_at__isnull=False),
                name="message_held_was_stored",
            ),
            models.CheckConstraint(
                condition=~Q(state=State.ACKNOWLEDGED) | Q(acknowledged_at__isnull=False),
                name="message_acknowledged_has_time",
            ),
        )
        indexes = (
            models.Index(fields=["mailbox", "direction", "-seen_at", "-id"], name="message_mailbox_time"),
            models.Index(fields=["team", "direction", "-seen_at", "-id"], name="message_team_time"),
            models.Index(fields=["mailbox", "state", "-seen_at"], name="message_mailbox_state"),
            models.Index(fields=["team", "workflow_id", "-seen_at"], name="message_team_workflow"),
            models.Index(fields=["team", "state", "-seen_at"], name="message_team_state"),
            models.Index(fields=["team", "sender", "-seen_at"], name="message_team_sender"),
            models.Index(fields=["team", "-seen_at"], condition=Q(message_type="REPORT"), name="message_team_reports"),
            models.Index(fields=["mesh_id"], name="message_mesh_id"),
            models.Index(fields=["linked_mesh_id"], condition=~Q(linked_mesh_id=""), name="message_linked"),
        )

    def __str__(self) -> str:
        return f"message {self.mesh_id}" if self.mesh_id else f"message with local ID {self.local_id}"

    @property
    def arrived_at(self) -> datetime:
        """When MESH took the message, or when the portal first saw it: both clocks start here."""
        return self.sent_at or self.seen_at

    @property
    def leaves_inbox_at(self) -> datetime:
        """When an unacknowledged message leaves the inbox (5 days)."""
        return self.arrived_at + self.INBOX_LIFE

    @property
    def deleted_at(self) -> datetime:
        """When MESH deletes the message for good (30 days)."""
        return self.arrived_at + self.LIFE
