"""Certificates that were there before the inventory, and the command line."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection

from certificates import services
from certificates.models import ClientIdentity
from certificates.reading import Source
from meshportal.audit.actors import Actor
from tests.certificates.making import CN, KEYTOOL_PASSPHRASE, Making, Pair
from tests.conftest import Need

pytestmark = pytest.mark.django_db
FACTS = ("effective_expiry", "key_kind", "key_size", "signature", "generation", "local_id", "ods_code")


def test_the_migration_fills_what_is_installed_and_leaves_what_it_cannot_read(
    making: Making, good: Pair, team: Any, identity: Any
) -> None:
    short = making.issue("NHS INT Authentication G2", making.root, extensions="authority", end="20280101000000Z")
    pair = making.issue(CN, short)
    held, _ = services.import_identity(
        actor=Actor.command("test"),
        team=team,
        environment="int",
        name="held",
        sources=[Source("the file", pair.pem + pair.key_pem + short.pem)],
    )
    facts = ClientIdentity.objects.filter(pk=held.pk).values(*FACTS).get()
    assert facts["generation"] == "int-g2"
    assert facts["effective_expiry"] == datetime(2028, 1, 1, tzinfo=UTC)
    empty = {name: None if name in ("effective_expiry", "key_size") else "" for name in FACTS}
    ClientIdentity.objects.update(**empty)
    before = ClientIdentity.objects.get(pk=held.pk).updated_at
    importlib.import_module("certificates.migrations.0003_facts_of_those_there").fill(apps, connection.schema_editor())
    assert ClientIdentity.objects.filter(pk=held.pk).values(*FACTS).get() == facts
    assert ClientIdentity.objects.get(pk=held.pk).updated_at == before
    identity.refresh_from_db()
    assert identity.effective_expiry is None
    assert identity.lapses_at == identity.not_after


def add(*options: str) -> str:
    import io

    out = io.StringIO()
    call_command("add_identity", "--team", "midshire", "--environment", "int", *options, stdout=out)
    return out.getvalue()


def test_the_command_takes_a_keystore_and_says_what_to_know(
    need: Need, making: Making, good: Pair, team: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("keytool")
    monkeypatch.setenv("MESHPORTAL_KEY_PASSPHRASE", KEYTOOL_PASSPHRASE)
    (tmp_path / "mesh.jks").write_bytes(making.keystore(good, "JKS"))
    with pytest.raises(CommandError, match="has a passphrase: give it"):
        add("--name", "a", "--certificate", str(tmp_path / "mesh.jks"))
    assert "can be used until 31 Dec 2029" in add("--name", "a", "--certificate", str(tmp_path / "mesh.jks"), "--protected")
    ClientIdentity.objects.all().delete()
    said = add("--name", "b", "--certificate", str(good.certificate), "--key", str(good.key))
    assert "Note: The certificate of its issuer, Test Authority, is not with it." in said
    with pytest.raises(CommandError, match="has this certificate already, as “b”"):
        add("--name", "c", "--certificate", str(good.certificate), "--key", str(good.key))
    with pytest.raises(CommandError, match=r"There is no private key in .*\.pem"):
        add("--name", "c", "--certificate", str(good.certificate))
