"""Putting a new certificate in place of an old one: which mailboxes were tested with it, and which were switched."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from certificates.models import ClientIdentity, Environment
from mailboxes.models.mailbox import Mailbox
from meshportal.accounts.models import TeamOwned
from meshportal.core.models import BaseModel, Waiting, lease_whole


class RollOver(TeamOwned):
    """One new certificate in place of one old one. There is one for each pair, however often it is taken up again."""

    environment = models.CharField(max_length=10, choices=Environment.choices)
    old = models.ForeignKey(ClientIdentity, on_delete=models.PROTECT, related_name="roll_overs_from")
    new = models.ForeignKey(ClientIdentity, on_delete=models.PROTECT, related_name="roll_overs_to")
    tested_at = models.DateTimeField(null=True, blank=True, help_text="When somebody last asked for a test.")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["old", "new"], name="roll_over_once"),
            models.CheckConstraint(condition=~Q(old=F("new")), name="roll_over_of_two"),
        )

    def __str__(self) -> str:
        return f"roll-over from {self.old} to {self.new}"


class TestState(models.TextChoices):
    """What a handshake with the new certificate came to."""

    NONE = "none", "Not tested"
    WAITING = "waiting", "Being tested"
    PASSED = "passed", "Passed"
    FAILED = "failed", "Failed"


class RollOverRow(Waiting, BaseModel):
    """One mailbox of a roll-over. It has ``due_at`` exactly while its test waits, and ``why_not`` exactly when that failed.

    The mailbox itself says which certificate it uses; ``switched_at`` says that this roll-over gave it the new one.
    """

    roll_over = models.ForeignKey(RollOver, on_delete=models.PROTECT, related_name="rows")
    mailbox = models.ForeignKey(Mailbox, on_delete=models.PROTECT, related_name="roll_over_rows")
    test = models.CharField(max_length=10, choices=TestState.choices, default=TestState.NONE)
    tested_at = models.DateTimeField(null=True, blank=True)
    why_not = models.TextField(blank=True)
    advice = models.TextField(blank=True)
    switched_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["roll_over", "mailbox"], name="roll_over_row_once"),
            models.CheckConstraint(
                condition=Q(test=TestState.WAITING, due_at__isnull=False, why_not="")
                | (Q(test=TestState.FAILED, due_at__isnull=True) & ~Q(why_not=""))
                | Q(test__in=(TestState.NONE, TestState.PASSED), due_at__isnull=True, why_not=""),
                name="roll_over_row_test",
            ),
            lease_whole("roll_over_row_lease_whole"),
        )
        indexes = (models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="roll_over_row_due"),)

    def __str__(self) -> str:
        return f"row of roll-over {self.roll_over_id} for mailbox {self.mailbox_id}"
