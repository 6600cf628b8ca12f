"""What a team knows of a workflow: its name, what answers it, and whether its messages may be sent again."""

from __future__ import annotations

from django.db import models

from meshportal.accounts.models import TeamOwned


class ResendPolicy(models.TextChoices):
    """Whether a document may go out a second time. Some systems act twice on what they get twice."""

    ALLOWED = "allowed", "Allowed, with a reason"
    ON_REQUEST = "on_request", "Only when the recipient asks for it"
    NEVER = "never", "Never"


class Workflow(TeamOwned):
    """A workflow ID that a team uses, or that was seen in its traffic; until a manager reviewed it the defaults are careful."""

    workflow_id = models.CharField("workflow ID", max_length=300)
    name = models.CharField(max_length=150, blank=True)
    ack_workflow_id = models.CharField("workflow ID of the acknowledgement", max_length=300, blank=True)
    resend_policy = models.CharField(max_length=10, choices=ResendPolicy.choices, default=ResendPolicy.ON_REQUEST)
    patient_subjects = models.BooleanField(default=True, help_text="Subjects can hold patient data.")
    owner = models.CharField(max_length=150, blank=True, help_text="Who answers for it in the organisation.")
    reviewed_at = models.DateTimeField(null=True, blank=True)
    reviewed_by = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["team", "workflow_id"], name="workflow_once"),
            models.CheckConstraint(condition=models.Q(resend_policy__in=ResendPolicy.values), name="workflow_resend_policy"),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.workflow_id})" if self.name else self.workflow_id
