"""What the sender knows of a sent message beyond what it is: how far it came, and every call that was made for it."""

from __future__ import annotations

from django.db import models

from meshportal.core.models import BaseModel, Leased, lease_whole
from messages.models.message import Message


class Outgoing(Leased, BaseModel):
    """The sending of one message, worked by one worker at a time. ``due_at`` is when the sender, or whoever asks MESH what
    became of it, looks at it next; None when there is nothing more to do by itself."""

    message = models.OneToOneField(Message, on_delete=models.PROTECT, related_name="outgoing")
    due_at = models.DateTimeField(null=True, blank=True)
    chunk_size = models.PositiveIntegerField(help_text="Bytes of the clear body in each chunk.")
    next_chunk = models.PositiveIntegerField(default=1, help_text="The first chunk that MESH has not confirmed.")
    compress = models.BooleanField(default=False, help_text="Each chunk is compressed for the way.")
    own_local_id = models.BooleanField(help_text="The portal made the local ID, so no other message has it.")
    tries = models.PositiveIntegerField(default=0, help_text="Rounds of sending since it was queued.")
    looks = models.PositiveIntegerField(default=0, help_text="How often MESH was asked since the state last changed.")
    looked_at = models.DateTimeField(null=True, blank=True)
    resend_of = models.ForeignKey(Message, null=True, blank=True, on_delete=models.PROTECT, related_name="resends")
    reason = models.TextField(blank=True)
    asked_by = models.CharField(max_length=150, blank=True, help_text="Who asked for it to be sent again.")
    requested_by = models.CharField(max_length=300)
    recipient_ods = models.CharField(max_length=12, blank=True, help_text="The recipient's ODS code, where the sender gave it.")

    class Meta:
        verbose_name_plural = "outgoing"
        constraints = (lease_whole("outgoing_lease_whole"),)
        indexes = (models.Index(fields=["due_at"], condition=models.Q(due_at__isnull=False), name="outgoing_due"),)

    def __str__(self) -> str:
        return f"sending of {self.message_id}"

    @property
    def chunk_total(self) -> int:
        """How many chunks the body makes, at least 1."""
        return max(1, -(-(self.message.size or 0) // self.chunk_size))


class Outcome(models.TextChoices):
    """How one call ended. Without one it is still under way, or the process died in it."""

    ACCEPTED = "accepted", "Accepted by MESH"
    FAILED = "failed", "Did not reach MESH"
    REFUSED = "refused", "Refused by MESH"
    UNCERTAIN = "uncertain", "No answer came"


class SendAttempt(models.Model):
    """One request of a message, written before it is made: whatever dies, it is known that it may have been made."""

    message = models.ForeignKey(Message, on_delete=models.PROTECT, related_name="send_attempts")
    chunk = models.PositiveIntegerField()
    began_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=10, choices=Outcome.choices, blank=True)
    problem = models.TextField(blank=True)

    class Meta:
        indexes = (models.Index(fields=["message", "id"], name="attempt_message"),)

    def __str__(self) -> str:
        return f"attempt at chunk {self.chunk} of {self.message_id}"
