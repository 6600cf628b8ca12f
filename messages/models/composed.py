"""A message that somebody is composing and has not sent yet."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from mailboxes.models import Mailbox
from meshportal.accounts.models import TeamOwned
from meshportal.core.fields import SealedTextField
from meshportal.core.payloads import Stored


class Composed(TeamOwned):
    """What is known of it so far; the file has no row of its own before it is a message's body.

    It belongs to the team: whoever may send can finish what a colleague began, but only its author sees the subject
    (promise P9). It is gone once it is sent, or after a day.
    """

    class Known(models.TextChoices):
        """How it is known that the recipient takes messages of the workflow."""

        LOOKUP = "lookup", "Endpoint lookup of the ODS code"
        TRAFFIC = "traffic", "MESH has taken messages of this workflow for it before"
        SEARCH = "search", "Workflow search"
        NOT_FOUND = "not_found", "MESH does not name it for this workflow"
        NOT_ASKED = "not_asked", "MESH could not be asked"

    mailbox = models.ForeignKey(Mailbox, on_delete=models.CASCADE, related_name="composed")
    made_by = models.CharField(max_length=300)
    author = models.CharField(max_length=100, help_text="The id of the person, as in the audit.")
    ods_code = models.CharField("ODS code", max_length=10, blank=True)
    recipient = models.CharField(max_length=100)
    recipient_name = models.CharField(max_length=300, blank=True)
    known = models.CharField(max_length=10, choices=Known.choices)
    workflow_id = models.CharField("workflow ID", max_length=300)
    subject = SealedTextField(null=True, blank=True)
    local_id = models.CharField("local ID", max_length=300, blank=True)
    file_name = models.CharField(max_length=300, blank=True)
    content_type = models.CharField(max_length=200, blank=True)
    compress = models.BooleanField(default=False)

    storage_key = models.CharField(max_length=300, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    size = models.BigIntegerField(null=True, blank=True)
    stored_size = models.BigIntegerField(null=True, blank=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["updated_at"], name="composed_age")]

    def __str__(self) -> str:
        return f"message to {self.recipient} that is not sent yet"

    @property
    def kept(self) -> Stored | None:
        """The file, once it is there."""
        if not self.storage_key or self.size is None or self.stored_size is None:
            return None
        return Stored(key=self.storage_key, sha256=self.sha256, size=self.size, stored_size=self.stored_size)
