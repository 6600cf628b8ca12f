"""Sealed columns: promise P11."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection

from mailboxes.models import Mailbox
from meshportal.core import crypto

pytestmark = pytest.mark.django_db


def column(mailbox: Mailbox) -> bytes:
    with connection.cursor() as cursor:
        cursor.execute("SELECT password FROM mailboxes_mailbox")
        return bytes(cursor.fetchone()[0])


def test_a_sealed_value_is_not_in_the_column_in_clear(mailbox: Any) -> None:
    row = mailbox(password="tr0ub4dor")
    assert b"tr0ub4dor" not in column(row)
    assert Mailbox.objects.get().password == "tr0ub4dor"


def test_a_lost_key_raises_and_never_returns_the_ciphertext(mailbox: Any, settings: Any) -> None:
    mailbox(password="tr0ub4dor")
    settings.MESHPORTAL_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(crypto.CannotUnseal):
        Mailbox.objects.get()


def test_reseal_moves_every_value_to_the_first_key(mailbox: Any, settings: Any) -> None:
    mailbox(password="tr0ub4dor")
    old, new = settings.MESHPORTAL_KEYS, Fernet.generate_key().decode()
    settings.MESHPORTAL_KEYS = [new, *old]
    out = StringIO()
    call_command("reseal", stdout=out)
    assert "mailboxes.Mailbox.password: 1 resealed" in out.getvalue()
    settings.MESHPORTAL_KEYS = [new]
    assert Mailbox.objects.get().password == "tr0ub4dor"


def test_reseal_names_what_no_key_opens_and_leaves_it(mailbox: Any, settings: Any) -> None:
    row = mailbox(password="tr0ub4dor")
    before = column(row)
    settings.MESHPORTAL_KEYS = [Fernet.generate_key().decode()]
    err = StringIO()
    with pytest.raises(CommandError, match="could not be opened"):
        call_command("reseal", stdout=StringIO(), stderr=err)
    assert f"mailboxes.Mailbox {row.pk}" in err.getvalue().replace(row.pk.hex, str(row.pk))
    assert column(row) == before


def test_a_sealed_column_cannot_be_searched(mailbox: Any) -> None:
    with pytest.raises(FieldError, match="sealed"):
        Mailbox.objects.filter(password="tr0ub4dor").count()


def test_a_malformed_key_is_named_at_start(settings: Any) -> None:
    settings.MESHPORTAL_KEYS = ["not a key"]
    with pytest.raises(ImproperlyConfigured, match="MESHPORTAL_KEYS"):
        crypto.seal(b"x")
