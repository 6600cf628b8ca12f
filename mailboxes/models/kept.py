"""What somebody uploaded, between its dry run and its end."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from certificates.models import Environment
from meshportal.accounts.models import Gesture


class KeptUpload(Gesture):
    """An upload that waits for the word that carries it out: then applied, discarded, or expired.

    ``SEALED`` names the field that holds what it takes: it may hold secrets, and is empty from the end on (promise P11).
    ``DISCARDED`` is the act in the audit when it is taken away. What is done with one: :mod:`mailboxes.keeping`.
    """

    SEALED: ClassVar[str]
    DISCARDED: ClassVar[str]

    environment = models.CharField(max_length=10, choices=Environment.choices)
    file_name = models.CharField(max_length=150, blank=True)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    applied_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True
