"""Bringing in client identities and trust bundles. A private key is sealed before it is kept, and never shown."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from certificates import reading
from certificates.models import ClientIdentity, Environment, TrustBundle
from meshportal.accounts.models import Team
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor


def inventory(examined: reading.Examined) -> dict[str, Any]:
    """What the inventory keeps of an examined chain, by the names of ClientIdentity's fields."""
    leaf = examined.leaf
    return {
        "subject_cn": leaf.subject[:300],
        "issuer": leaf.issuer[:300],
        "serial": leaf.serial[:60],
        "fingerprint": leaf.fingerprint,
        "not_before": leaf.not_before,
        "not_after": leaf.not_after,
        "effective_expiry": examined.effective_expiry,
        "key_kind": leaf.key_kind[:40],
        "key_size": leaf.key_size,
        "signature": leaf.signature[:80],
        "generation": examined.generation,
        "local_id": examined.local_id,
        "ods_code": examined.ods_code,
    }


def import_identity(
    *,
    actor: Actor,
    team: Team,
    environment: str,
    name: str,
    sources: Sequence[reading.Source],
    passphrase: str = "",
) -> tuple[ClientIdentity, tuple[reading.Warned, ...]]:
    """Adds the client certificate with its key that ``sources`` hold to ``team``; and what to know of it.

    Raises ValidationError with one sentence when they hold none that can be used, or the team has it already: about
    ``passphrase`` where another one would help.
    """
    if environment not in Environment.values:
        raise ValidationError({"environment": f"Choose one of {', '.join(Environment.values)}."})
    try:
        material = reading.read(sources, passphrase, environment=environment, now=timezone.now())
    except reading.CannotUse as refusal:
        field = "passphrase" if refusal.about == "passphrase" else NON_FIELD_ERRORS
        raise ValidationError({field: ValidationError(refusal.sentence, code=refusal.code)}) from None
    identity = ClientIdentity(
        team=team,
        environment=environment,
        name=name,
        certificate_pem=material.certificate_pem,
        private_key=material.private_key_pem,
        **inventory(material.examined),
    )
    held = ClientIdentity.objects.filter(team=team, environment=environment)
    twin = held.filter(fingerprint=identity.fingerprint).only("name").first()
    if twin is not None:
        raise ValidationError(f"The team has this certificate already, as “{twin.name}”.", code="already_there")
    if held.filter(name=name).exists():
        raise ValidationError({"name": f"The team has another certificate called “{name}” in this environment."})
    identity.full_clean()
    with transaction.atomic():
        identity.save()
        audit.record(
            actor=actor,
            action="certificate.added",
            target=identity,
            team=team,
            after={
                "subject": identity.subject_cn,
                "fingerprint": identity.fingerprint,
                "not_after": _iso(identity.not_after),
                "lapses_at": _iso(identity.lapses_at),
                "warnings": [warned.code for warned in material.warnings],
            },
        )
    return identity, material.warnings


@dataclass(frozen=True)
class CheckedBundle:
    """A bundle that could be used: its authorities in words, and what to know of them."""

    authorities: tuple[reading.Facts, ...]
    warnings: tuple[reading.Warned, ...]


def check_trust_bundle(*, environment: str, pem: bytes) -> CheckedBundle:
    """What ``pem`` would be for ``environment``; changes nothing. Raises ValidationError as :func:`replace_trust_bundle`."""
    now = timezone.now()
    facts = tuple(map(reading.facts_of, _authorities(environment, pem, now)))
    return CheckedBundle(facts, tuple(reading.bundle_warnings(facts, environment=environment, now=now)))


def previous_trust_bundle(environment: str) -> TrustBundle | None:
    """The latest bundle of ``environment`` that is not in use and differs from the one that is."""
    rows = TrustBundle.objects.filter(environment=environment)
    in_use = rows.filter(current=True).values("fingerprint")
    return rows.filter(current=False).exclude(fingerprint__in=in_use).order_by("-created_at", "-pk").first()


def _authorities(environment: str, pem: bytes, now: datetime) -> list[x509.Certificate]:
    if environment not in Environment.values:
        raise ValidationError({"environment": f"Choose one of {', '.join(Environment.values)}."})
    try:
        return reading.read_bundle(pem, "the bundle", now)
    except reading.CannotUse as refusal:
        raise ValidationError({"bundle": ValidationError(refusal.sentence, code=refusal.code)}) from None


def replace_trust_bundle(*, actor: Actor, environment: str, name: str, pem: bytes, reason: str = "") -> TrustBundle:
    """Makes ``pem`` the CA bundle of ``environment``; the one before is kept, no longer current.

    Every connection made from then on is checked against it: the bundle is part of what kept connections are known by.
    Bringing in the bundle that is current already changes nothing. Raises ValidationError with one sentence when it is empty,
    holds anything but authorities (a key, the certificate of a server), or none that is valid now.
    """
    authorities = _authorities(environment, pem, timezone.now())
    text = "".join(found.public_bytes(serialization.Encoding.PEM).decode() for found in authorities)
    fingerprint = hashlib.sha256(text.encode()).hexdigest()
    try:
        with transaction.atomic():
            current = TrustBundle.objects.select_for_update().filter(environment=environment, current=True).first()
            if current is not None and current.fingerprint == fingerprint:
                return current
            TrustBundle.objects.filter(environment=environment, current=True).update(current=False)
            bundle = TrustBundle.objects.create(environment=environment, name=name[:150], pem=text, fingerprint=fingerprint)
            audit.record(
                actor=actor,
                action="trust_bundle.replaced",
                target=bundle,
                before={"fingerprint": current.fingerprint if current else ""},
                after={"fingerprint": fingerprint, "certificates": [reading.name_of(found.subject) for found in authorities]},
                reason=reason,
            )
    except IntegrityError:
        # One is current in each environment, says the database.
        raise ValidationError({"bundle": "Somebody else replaced it at this moment. Look at it, and try again."}) from None
    return bundle


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
