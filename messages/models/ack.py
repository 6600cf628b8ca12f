"""Acknowledgements by a recipient's system: what an ack says, and by which names a sent body can be found again."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from meshportal.core.models import BaseModel
from messages.models.message import Message


class AckKind(models.TextChoices):
    """ITK3 response codes (domain notes on Transfer of Care): 1xxxx and 2xxxx infrastructure, 3xxxx business."""

    INFRASTRUCTURE = "infrastructure", "Infrastructure acknowledgement"
    BUSINESS = "business", "Business acknowledgement"
    UNKNOWN = "", "Acknowledgement"


class AckAnswer(models.TextChoices):
    """What the recipient's system answered."""

    POSITIVE = "positive", "Accepted"
    NEGATIVE = "negative", "Rejected"
    UNKNOWN = "", "Not readable"


class Ack(BaseModel):
    """A received message of an ack workflow, and the sent message that it is about once that is found.

    ``tries`` is written before the body is read, so that a body which kills its worker does not do so for ever.
    """

    message = models.OneToOneField(Message, on_delete=models.PROTECT, related_name="ack")
    about = models.ForeignKey(Message, null=True, blank=True, on_delete=models.PROTECT, related_name="acks")
    kind = models.CharField(max_length=15, choices=AckKind.choices, blank=True)
    answer = models.CharField(max_length=10, choices=AckAnswer.choices, blank=True)
    identifier = models.CharField(max_length=255, blank=True, help_text="The body's name for the message that it answers.")
    code = models.CharField(max_length=40, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    tries = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(null=True, blank=True, help_text="When its message is looked for next; never when empty.")

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(kind__in=AckKind.values), name="ack_kind"),
            models.CheckConstraint(condition=Q(answer__in=AckAnswer.values), name="ack_answer"),
        )
        indexes = (
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="ack_due"),
            models.Index(fields=["answer", "created_at"], name="ack_answer_time"),
        )

    def __str__(self) -> str:
        return f"ack {self.message_id}"


class BodyName(models.Model):
    """A name that the body of a sent message gives itself: an ack answers one of them."""

    message = models.ForeignKey(Message, on_delete=models.PROTECT, related_name="body_names")
    value = models.CharField(max_length=255)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["message", "value"], name="body_name_once"),)
        indexes = (models.Index(fields=["value"], name="body_name_value"),)

    def __str__(self) -> str:
        return f"name of the body of {self.message_id}"
