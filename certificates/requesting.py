"""Asking for a certificate: a key that never leaves the portal, the request (CSR) for it, and the certificate that comes back.

| what goes wrong | what stands, and what happens then |
|---|---|
| the process dies while the key is made | nothing; the form is sent again |
| the same form is sent twice, also at once | one request: its id was chosen when the form was shown |
| the certificate is of another key, expired, of another environment | nothing changed; a sentence says which |
| somebody pastes another certificate together with its key | refused: it is not the one that was asked for |
| the process dies while the certificate is taken in | all or nothing: certificate, request and audit are one transaction |
| the certificate is given twice | one certificate; the second time leads to it |
| it comes after the request was withdrawn | refused: the key is gone |
| it is given and withdrawn at once | whichever is first holds; the other is refused |
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from certificates import reading, services
from certificates.models import CertificateRequest, ClientIdentity, Environment
from meshportal.accounts.models import Team
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused
from meshportal.core.crypto import CannotUnseal

KEY_SIZES = (2048, 4096)
WHY = {
    "new": "New client",
    "expiring": "The present certificate is about to expire",
    "expired": "The present certificate expired",
}


def request_certificate(
    *,
    actor: Actor,
    team: Team,
    once: uuid.UUID,
    environment: str,
    name: str,
    local_id: str,
    ods_code: str,
    organisation: str,
    why: str,
    key_size: int,
) -> CertificateRequest:
    """Makes a key, seals it, and makes the request for a certificate of it. Raises ValidationError by field.

    ``once`` becomes the id of the request: a second call with it gives the first one's and makes nothing.
    """
    if found := _made(team, once):
        return found
    made = CertificateRequest(
        pk=once,
        team=team,
        environment=environment,
        name=name,
        local_id=local_id.upper(),
        ods_code=ods_code.upper(),
        organisation=organisation,
        why=why,
        key_size=key_size,
    )
    _check(made)
    key = rsa.generate_private_key(public_exponent=65537, key_size=key_size)
    made.private_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, made.common_name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    made.csr_pem = request.public_bytes(serialization.Encoding.PEM).decode()
    try:
        with transaction.atomic():
            made.save(force_insert=True)
            audit.record(
                actor=actor,
                action="certificate.requested",
                target=made,
                team=team,
                after={"subject": made.common_name, "key_size": key_size, "environment": environment},
            )
    except IntegrityError:
        found = _made(team, once)
        if found is None:
            raise
        return found
    return made


def receive_certificate(
    *, actor: Actor, request: CertificateRequest, name: str, sources: Sequence[reading.Source]
) -> tuple[ClientIdentity, tuple[reading.Warned, ...]]:
    """Makes a client identity called ``name`` of the key of ``request`` and the signed certificate in ``sources``;
    and what to know of it.

    Raises ValidationError with one sentence when it is not the one that was asked for or cannot be used.
    """
    with transaction.atomic():
        rows = CertificateRequest.objects.select_for_update(of=("self",)).select_related("team").defer("private_key")
        request = rows.get(pk=request.pk)
        if request.identity_id is not None:
            return ClientIdentity.objects.defer("private_key").get(pk=request.identity_id), ()
        if request.withdrawn_at is not None:
            raise ValidationError("This request was withdrawn, and its key is gone. Request a new certificate.")
        try:
            key = str(request.private_key)
        except CannotUnseal:
            raise ValidationError(
                "The key of this request cannot be opened. Ask whoever runs the portal to put the missing key back into "
                "MESHPORTAL_KEYS."
            ) from None
        identity, warnings = services.import_identity(
            actor=actor,
            team=request.team,
            environment=request.environment,
            name=name,
            sources=[*sources, reading.Source("the request", key.encode())],
        )
        if not _is_for(request, identity):
            raise ValidationError(
                f"This is the certificate of {identity.subject_cn} with another key. Give the certificate that was issued for "
                "this request, without a key: the portal has it."
            )
        request.identity, request.received_at, request.private_key = identity, timezone.now(), None
        request.save(update_fields=["identity", "received_at", "private_key", "updated_at"])
        audit.record(
            actor=actor,
            action="certificate.received",
            target=request,
            team=request.team,
            after={"subject": identity.subject_cn, "fingerprint": identity.fingerprint},
        )
    if identity.subject_cn != request.common_name:
        said = f"It was issued to {identity.subject_cn}, and {request.common_name} was asked for."
        warnings = (*warnings, reading.Warned("other_name", said))
    return identity, warnings


def withdraw_request(*, actor: Actor, request: CertificateRequest, reason: str) -> None:
    """Gives up ``request``: its key is destroyed, so that a certificate that still comes is of no use. Raises Refused."""
    if not reason.strip():
        raise Refused("Say why the request is withdrawn.")
    with transaction.atomic():
        rows = CertificateRequest.objects.select_for_update(of=("self",)).select_related("team").defer("private_key")
        request = rows.get(pk=request.pk)
        if request.withdrawn_at is not None:
            raise Refused("This request was withdrawn already.")
        if request.identity_id is not None:
            raise Refused("Its certificate has come, so there is nothing to withdraw.")
        request.private_key, request.withdrawn_at, request.withdrawn_reason = None, timezone.now(), reason.strip()
        request.save(update_fields=["private_key", "withdrawn_at", "withdrawn_reason", "updated_at"])
        audit.record(
            actor=actor,
            action="certificate.request_withdrawn",
            target=request,
            team=request.team,
            after={"subject": request.common_name},
            reason=reason.strip(),
        )


def request_text(request: CertificateRequest) -> str:
    """What to write to whoever issues certificates."""
    to = settings.CERTIFICATE_REQUEST_ADDRESSES[request.environment]
    lines = [
        *([f"To: {to}"] if to else []),
        f"Subject: Certificate request for MESH, {request.get_environment_display()}, {request.ods_code}",
        "",
        "Please issue a MESH client certificate for the request (CSR) below.",
        "",
        f"Organisation: {request.organisation} ({request.ods_code})",
        f"Mailbox or server: {request.local_id}",
        f"Environment: {request.get_environment_display()}",
        f"Common name: {request.common_name}",
        f"Reason: {WHY.get(request.why, request.why)}",
        "",
        request.csr_pem.strip(),
    ]
    return "\n".join(lines)


def _made(team: Team, once: uuid.UUID) -> CertificateRequest | None:
    found = CertificateRequest.objects.filter(pk=once).select_related("team").defer("private_key").first()
    if found is not None and found.team_id != team.pk:
        raise ValidationError("This form was sent before. Open it again.")
    return found


def _check(made: CertificateRequest) -> None:
    """Raises ValidationError by field."""
    if made.environment not in Environment.values:
        raise ValidationError({"environment": f"Choose one of {', '.join(Environment.values)}."})
    if made.key_size not in KEY_SIZES:
        raise ValidationError({"key_size": "MESH’s issuers take RSA keys of 2048 or 4096 bits."})
    if made.why not in WHY:
        raise ValidationError({"why": "Choose one of the reasons."})
    if not reading.shape_of(made.common_name):
        raise ValidationError(
            {"local_id": "A local ID is a mailbox ID or the name of a server: letters, digits, - and _, at most 64."}
        )
    if len(made.common_name) > 64:
        # X.520: a common name has at most 64 characters.
        raise ValidationError({"local_id": f"Too long: {made.common_name} may have at most 64 characters."})
    named = {"team": made.team, "environment": made.environment, "name": made.name}
    if ClientIdentity.objects.filter(**named).exists():
        raise ValidationError({"name": f"The team has another certificate called “{made.name}” in this environment."})
    if CertificateRequest.objects.filter(**named, identity=None, withdrawn_at=None).exists():
        raise ValidationError({"name": f"The team has asked for a certificate called “{made.name}” already."})


def _is_for(request: CertificateRequest, identity: ClientIdentity) -> bool:
    asked = x509.load_pem_x509_csr(request.csr_pem.encode()).public_key()
    given = x509.load_pem_x509_certificate(identity.certificate_pem.encode()).public_key()
    return reading.same_key(asked, given)
