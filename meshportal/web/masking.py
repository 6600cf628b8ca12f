"""What lists may show of texts that can hold patient data; see :mod:`meshportal.core.masking`."""

from __future__ import annotations

from meshportal.core.masking import HIDDEN_NUMBER, is_nhs_number, mask_numbers, mask_subject

__all__ = ["HIDDEN_NUMBER", "is_nhs_number", "mask_numbers", "mask_subject"]
