"""What was seen in the folders of a running MESH client: each control file once."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from mailboxes.models import Mailbox
from meshportal.accounts.models import TeamOwned
from messages.models.message import Message


class ClientPlace(models.TextChoices):
    # In this order they are read: a report in IN may be about what stands in SENT.
    SENT = "sent", "SENT"
    FAILED = "failed", "FAILED"
    IN = "in", "IN"


class ClientRecord(TeamOwned):
    """A control file that was read, or could not be. The same name with other content is another one.

    ``stamp`` says by what a change of the file would show, so that what is known is not read again; ``digest`` is the
    SHA-256 of its content, '' when it could not be read at all.
    """

    mailbox = models.ForeignKey(Mailbox, on_delete=models.PROTECT, related_name="client_records")
    place = models.CharField(max_length=6, choices=ClientPlace.choices)
    name = models.CharField(max_length=300)
    digest = models.CharField(max_length=64, blank=True)
    stamp = models.CharField(max_length=100)
    problem = models.TextField(blank=True)
    message = models.ForeignKey(Message, null=True, blank=True, on_delete=models.PROTECT, related_name="client_records")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["mailbox", "place", "name", "digest"], name="client_record_once"),
            models.CheckConstraint(condition=Q(place__in=ClientPlace.values), name="client_record_place"),
        )

    def __str__(self) -> str:
        return f"record of a client in {self.get_place_display()} of mailbox {self.mailbox_id}"
