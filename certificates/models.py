"""ClientIdentity (certificate and sealed key), CertificateRequest (for one to come), CalendarAddress (where programs subscribe
to their ends), TrustBundle (an environment's CAs)."""

from __future__ import annotations

from datetime import datetime

from django.db import models

from meshportal.accounts.models import TeamOwned
from meshportal.core.fields import SealedTextField
from meshportal.core.models import BaseModel


class Environment(models.TextChoices):
    """The MESH environments. They are never mixed in one action, and each has its own mailboxes and certificates."""

    LIVE = "live", "Live"
    INT = "int", "Integration"
    SANDBOX = "sandbox", "Sandbox"


class ClientIdentity(TeamOwned):
    """A client certificate with its key. One may serve many mailboxes of its environment."""

    name = models.CharField(max_length=150)
    environment = models.CharField(max_length=10, choices=Environment.choices)
    certificate_pem = models.TextField(help_text="The certificate, followed by any intermediates.")
    private_key = SealedTextField(help_text="The key as PEM; sealed, never shown.")
    subject_cn = models.CharField(max_length=300)
    issuer = models.CharField(max_length=300)
    serial = models.CharField(max_length=60)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of the certificate, in hex.")
    not_before = models.DateTimeField()
    not_after = models.DateTimeField()
    effective_expiry = models.DateTimeField(null=True, blank=True, help_text="The earliest end in the chain.")
    key_kind = models.CharField(max_length=40, blank=True, help_text="RSA, or EC with its curve.")
    key_size = models.PositiveIntegerField(null=True, blank=True, help_text="In bits.")
    signature = models.CharField(max_length=80, blank=True, help_text="Such as SHA-256 with RSA.")
    generation = models.CharField(max_length=20, blank=True, help_text="Of the NHS authority, such as int-g2; '' if unknown.")
    local_id = models.CharField(max_length=64, blank=True, help_text="From the common name; '' if it has another form.")
    ods_code = models.CharField(max_length=12, blank=True, help_text="From the common name; '' if it has another form.")

    class Meta:
        verbose_name_plural = "client identities"
        constraints = (
            models.UniqueConstraint(fields=["team", "environment", "name"], name="identity_name_once"),
            models.CheckConstraint(condition=models.Q(environment__in=Environment.values), name="identity_environment"),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.get_environment_display()})"

    @property
    def lapses_at(self) -> datetime:
        """When it can no longer be used: an authority above it may end before it does."""
        return self.effective_expiry or self.not_after


class CertificateRequest(TeamOwned):
    """A key made here and the request (CSR) for a certificate of it. The key is kept until the certificate has come."""

    name = models.CharField(max_length=150, help_text="What the certificate will be called.")
    environment = models.CharField(max_length=10, choices=Environment.choices)
    local_id = models.CharField(max_length=64)
    ods_code = models.CharField(max_length=12)
    organisation = models.CharField(max_length=200)
    why = models.CharField(max_length=20, help_text="One of certificates.requesting.WHY.")
    key_size = models.PositiveIntegerField(help_text="In bits.")
    csr_pem = models.TextField()
    private_key = SealedTextField(null=True, blank=True, help_text="As PEM; sealed, never shown, gone once it is received.")
    identity = models.OneToOneField(ClientIdentity, null=True, blank=True, on_delete=models.PROTECT, related_name="request")
    received_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=models.Q(environment__in=Environment.values), name="request_environment"),
            models.CheckConstraint(
                condition=models.Q(identity__isnull=True, received_at__isnull=True, private_key__isnull=False)
                | models.Q(identity__isnull=False, received_at__isnull=False, private_key__isnull=True),
                name="request_key_until_received",
            ),
        )
        indexes = (models.Index(fields=["team", "-created_at"], name="request_team_time"),)

    def __str__(self) -> str:
        return f"{self.name} ({self.get_environment_display()})"

    @property
    def common_name(self) -> str:
        """MESH API specification, Mutual authentication."""
        return f"{self.local_id}.{self.ods_code}.api.mesh-client.nhs.uk"


class CalendarAddress(TeamOwned):
    """The secret address at which a calendar program gets a team's expiry calendar. A team has one or none."""

    token_hash = models.CharField(
        max_length=64, unique=True, help_text="SHA-256 of the secret part, in hex; it itself is not kept."
    )
    made_by = models.CharField(max_length=150, help_text="The name of who made it.")
    fetched_at = models.DateTimeField(null=True, blank=True, help_text="Of the latest fetches, to the hour.")

    class Meta:
        verbose_name_plural = "calendar addresses"
        constraints = (models.UniqueConstraint(fields=["team"], name="calendar_address_one"),)

    def __str__(self) -> str:
        return f"calendar address of {self.team}"


class TrustBundle(BaseModel):
    """The CA certificates that the servers of an environment are checked against."""

    environment = models.CharField(max_length=10, choices=Environment.choices)
    name = models.CharField(max_length=150)
    pem = models.TextField()
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of the bundle, in hex.")
    current = models.BooleanField(default=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["environment"], condition=models.Q(current=True), name="trust_bundle_one_current"),
            models.CheckConstraint(condition=models.Q(environment__in=Environment.values), name="bundle_environment"),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.get_environment_display()})"
