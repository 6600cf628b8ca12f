"""Which workflows a mailbox is registered for in MESH, as its team says."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from mailboxes.models.mailbox import Mailbox
from meshportal.accounts.models import TeamOwned


class DeclaredWorkflow(TeamOwned):
    """One workflow of one mailbox, and in which directions. What nobody declared is no error here: MESH decides (code 16, 17)."""

    mailbox = models.ForeignKey(Mailbox, on_delete=models.PROTECT, related_name="declared_workflows")
    workflow_id = models.CharField("workflow ID", max_length=300)
    may_send = models.BooleanField(default=False)
    may_receive = models.BooleanField(default=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["mailbox", "workflow_id"], name="declared_workflow_once"),
            models.CheckConstraint(condition=Q(may_send=True) | Q(may_receive=True), name="declared_workflow_of_some_use"),
        )

    def __str__(self) -> str:
        return f"{self.workflow_id} of mailbox {self.mailbox_id}"
