"""An ODS organisation: reference data that no team owns."""

from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models

from meshportal.core.models import BaseModel

ods_code_shape = RegexValidator(r"^[A-Z0-9]{3,12}$", "An ODS code is 3 to 12 capital letters and digits, such as RH8 or G81086.")


class Organisation(BaseModel):
    """Who stands behind a mailbox. Codes are never reused, only closed, so the code is a safe key."""

    ods_code = models.CharField(max_length=12, unique=True, validators=[ods_code_shape])
    name = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ("ods_code",)

    def __str__(self) -> str:
        return f"{self.name} ({self.ods_code})" if self.name else self.ods_code
