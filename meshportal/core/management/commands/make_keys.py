from __future__ import annotations

from typing import Any

import pyrage
from cryptography.fernet import Fernet
from django.core.management.base import BaseCommand
from django.core.management.utils import get_random_secret_key


class Command(BaseCommand):
    help = "Prints a fresh SECRET_KEY, MESHPORTAL_KEYS and MESHPORTAL_PAYLOAD_KEYS for an environment file."
    requires_system_checks: list[str] = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        self.stdout.write(f"SECRET_KEY={get_random_secret_key()!r}")
        self.stdout.write(f"MESHPORTAL_KEYS={Fernet.generate_key().decode()}")
        self.stdout.write(f"MESHPORTAL_PAYLOAD_KEYS={pyrage.x25519.Identity.generate()}")
