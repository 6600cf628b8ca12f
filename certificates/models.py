"""ClientIdentity (certificate and sealed key) and TrustBundle (the CAs of an environment)."""

from __future__ import annotations

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

    class Meta:
        verbose_name_plural = "client identities"
        constraints = (
            models.UniqueConstraint(fields=["team", "environment", "name"], name="identity_name_once"),
            models.CheckConstraint(condition=models.Q(environment__in=Environment.values), name="identity_environment"),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.get_environment_display()})"


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
