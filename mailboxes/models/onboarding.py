"""A mailbox on its way into use: the answers that were given so far, whoever gave them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from certificates.models import Environment
from mailboxes.models.mailbox import Mailbox, Mode
from mailboxes.models.organisation import ods_code_shape
from meshportal.accounts.models import TeamOwned, User


class OrganisationType(models.TextChoices):
    """As the national application form asks for it."""

    AUTHORITY = "authority", "Health authority"
    TRUST = "trust", "Trust"
    PRACTICE = "practice", "GP practice"
    SUPPLIER = "supplier", "System supplier"
    OTHER = "other", "Other"


class Access(models.TextChoices):
    API = "api", "API, as this portal uses it"
    CLIENT = "client", "MESH client"
    UI = "ui", "MESH user interface"


class Onboarding(TeamOwned):
    """One mailbox for one use case. It ends when the mailbox goes live, or when somebody stops it; the answers stay."""

    # Who it is for.
    ods_code = models.CharField("ODS code", max_length=12, validators=[ods_code_shape])
    organisation_name = models.CharField(max_length=200)
    organisation_type = models.CharField(max_length=10, choices=OrganisationType.choices)
    purpose = models.CharField(max_length=300)
    environment = models.CharField(max_length=10, choices=Environment.choices)
    # What the application asks besides.
    contact_name = models.CharField(max_length=150, blank=True)
    contact_email = models.EmailField(max_length=254, blank=True)
    contact_phone = models.CharField(max_length=40, blank=True)
    third_party_ods = models.CharField(max_length=12, blank=True)
    third_party_contact = models.CharField(max_length=300, blank=True)
    nems = models.BooleanField(default=False, help_text="Messages of the National Events Management Service will flow.")
    access = models.CharField(max_length=10, choices=Access.choices, default=Access.API)
    sends = models.TextField(blank=True, help_text="Workflow IDs, one a line.")
    receives = models.TextField(blank=True, help_text="Workflow IDs, one a line.")
    file_size = models.CharField(max_length=100, blank=True)
    applied_on = models.DateField(null=True, blank=True, help_text="When the application was sent.")
    # What came of it.
    mailbox = models.OneToOneField(Mailbox, null=True, blank=True, on_delete=models.PROTECT, related_name="onboarding")
    tried_at = models.DateTimeField(null=True, blank=True, help_text="When a handshake was last tried.")
    tried_revision = models.PositiveIntegerField(default=0, help_text="The mailbox's settings that it was tried with.")
    trouble = models.TextField(blank=True)
    trouble_advice = models.TextField(blank=True)
    mode = models.CharField(max_length=10, choices=[(one.value, one.label) for one in (Mode.WATCH, Mode.COLLECT)], blank=True)
    owner = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    deputy = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    moved_at = models.DateTimeField(help_text="When somebody last got a step on.")
    live_at = models.DateTimeField(null=True, blank=True)
    stopped_at = models.DateTimeField(null=True, blank=True)
    revision = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(environment__in=Environment.values), name="onboarding_environment"),
            models.CheckConstraint(condition=Q(live_at__isnull=True) | Q(mailbox__isnull=False), name="onboarding_live_with_one"),
            models.CheckConstraint(condition=Q(live_at__isnull=True) | Q(stopped_at__isnull=True), name="onboarding_ends_once"),
        )
        indexes = (
            models.Index(fields=["team"], condition=Q(live_at__isnull=True, stopped_at__isnull=True), name="onboarding_open"),
        )

    def __str__(self) -> str:
        return f"onboarding of “{self.purpose}” for {self.ods_code}"

    @property
    def open(self) -> bool:
        return self.live_at is None and self.stopped_at is None
