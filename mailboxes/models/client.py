"""A running MESH client that is brought in: its uploaded configuration, and what is known of each of its mailboxes."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from mailboxes.models.bulk import Examination
from mailboxes.models.kept import KeptUpload
from mailboxes.models.mailbox import Mailbox
from meshportal.accounts.models import TeamOwned
from meshportal.core.fields import SealedJSONField


class ClientImport(KeptUpload):
    """A client's configuration. ``held`` is what it takes to apply it: keystore, passphrase, passwords.

    ``lines`` says what of the file maps (:class:`mailboxes.client.telling.Told`), ``boxes`` which mailboxes it adds
    (:class:`mailboxes.client.bringing.Box`), ``certificate`` what was found in the keystore; none holds a secret.
    """

    SEALED = "held"
    DISCARDED = "client_import.discarded"

    held = SealedJSONField(null=True, blank=True)
    lines = models.JSONField(default=list)
    boxes = models.JSONField(default=list)
    notes = models.JSONField(default=list, help_text="What was said of the files themselves, as sentences.")
    certificate = models.JSONField(default=dict)
    examination = models.OneToOneField(Examination, null=True, blank=True, on_delete=models.PROTECT, related_name="client_import")

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(held__isnull=False, ended_at__isnull=True) | Q(held__isnull=True, ended_at__isnull=False),
                name="client_import_holds_until_its_end",
            ),
        )
        indexes = (models.Index(fields=["team", "-created_at", "-id"], name="client_import_team_time"),)

    def __str__(self) -> str:
        return f"import of a MESH client {self.short_id}"


class ClientMailbox(TeamOwned):
    """What the configuration of its own client said of a mailbox when it was brought in."""

    mailbox = models.OneToOneField(Mailbox, on_delete=models.PROTECT, related_name="client")
    interface_root = models.CharField(max_length=1000, blank=True, help_text="Its folder, as the client calls it.")
    switches = models.JSONField(default=dict, help_text="Its report switches by name, Y or N.")
    poll_minutes = models.PositiveIntegerField(null=True, blank=True)

    def __str__(self) -> str:
        return f"client of mailbox {self.mailbox_id}"
