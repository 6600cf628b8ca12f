"""Rules about what is wrong with a client certificate that mailboxes are worked with, apart from its age (see the ladder).

What a certificate says of itself was shown when it was brought in; a rule looks again, since authorities end and rows are older
than checks. One that no mailbox uses troubles nobody. No name out of a certificate stands in a sentence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from cryptography import x509
from django.db.models import Exists, OuterRef

from certificates import reading
from certificates.models import ClientIdentity
from mailboxes import selectors
from mailboxes.models import Mailbox, Mode
from meshportal.accounts.models import Role
from meshportal.notify.models import Severity
from meshportal.notify.registry import Condition, Kind, Rule
from meshportal.web.time import london

ISSUER, GENERATION = "certificate.issuer_ends", "certificate.generation"
CHAIN, NAME, WEAK = "certificate.chain", "certificate.common_name", "certificate.weak"


@dataclass(frozen=True)
class Found:
    """One thing that is wrong: the kind of its alert, what is said, and how bad it is."""

    kind: str
    sentence: str
    severity: Severity = Severity.WARNING
    level: int = 0


def find(now: datetime) -> Iterator[Condition]:
    """What is wrong with each certificate that a mailbox is worked with."""
    users: dict[Any, list[Mailbox]] = defaultdict(list)
    everybody: dict[tuple[Any, str], set[str]] = defaultdict(set)
    for mailbox in selectors.every_mailbox():
        everybody[mailbox.team_id, mailbox.environment].add(mailbox.mailbox_id)
        if mailbox.identity_id is not None and mailbox.mode != Mode.PAUSED:
            users[mailbox.identity_id].append(mailbox)
    used = Exists(Mailbox.objects.filter(identity=OuterRef("pk")).exclude(mode=Mode.PAUSED))
    rows = ClientIdentity.objects.filter(used).select_related("team").defer("private_key")
    for identity in rows.order_by("pk"):
        if identity.pk not in users:
            continue
        ids = {mailbox.mailbox_id for mailbox in users[identity.pk]}
        others = everybody[identity.team_id, identity.environment] - ids
        for found in problems(identity, ids, others, now):
            yield Condition(
                kind=found.kind,
                key=str(identity.pk),
                subject=f"Certificate “{identity.name}”",
                sentence=found.sentence,
                team=identity.team,
                level=found.level,
                severity=found.severity,
                url_name="certificates:detail",
                url_args={"team": identity.team.slug, "pk": str(identity.pk)},
            )


def problems(identity: ClientIdentity, users: set[str], others: set[str], now: datetime) -> Iterator[Found]:
    """What is wrong with ``identity``, at most one of each kind. ``users`` and ``others`` are IDs of mailboxes of its team."""
    chain = _chain(identity.certificate_pem)
    if not chain:
        # Its mailboxes say so.
        return
    examined = reading.examine(chain, now)
    codes = {warned.code for warned in examined.warnings}
    if examined.cut_by:
        ends = london(examined.effective_expiry)
        if examined.effective_expiry <= now < examined.leaf.not_after:
            yield Found(ISSUER, f"cannot be used any more: its issuer ended on {ends}.", Severity.CRITICAL, level=1)
        elif examined.effective_expiry > now:
            yield Found(ISSUER, f"ends sooner than it says: its issuer ends on {ends}.")
    if reading.outdated(examined.authority):
        yield Found(GENERATION, "was issued by an authority of an older generation; there is a newer one.")
    if identity.environment != "sandbox":
        yield from _of_chain(examined, codes)
    if "not_for_clients" in codes:
        yield Found(NAME, "says that it is not meant for clients, and MESH may refuse it for that.")
    elif "common_name" in codes:
        yield Found(NAME, "has a common name of another form than MESH asks for.")
    elif examined.local_id.upper() in others:
        yield Found(NAME, f"names mailbox {examined.local_id.upper()} in its common name, which does not use it.")
    small = reading.too_small(examined.leaf)
    if small or "weak_signature" in codes:
        what = f"has a key of {examined.leaf.key_size:,} bits" if small else "has SHA-1 or older in its chain"
        yield Found(WEAK, f"{what}, which is no longer safe, and TLS refuses it.", Severity.CRITICAL)


def _of_chain(examined: reading.Examined, codes: set[str]) -> Iterator[Found]:
    if "self_signed" in codes:
        yield Found(CHAIN, "was signed by nobody but itself: MESH does not know it.", Severity.CRITICAL, level=1)
    elif "chain_missing" in codes and examined.authority is None:
        sentence = "is here without the certificate of its issuer, so nobody knows how long that one lasts."
        yield Found(CHAIN, sentence, Severity.INFO)


@lru_cache(maxsize=2000)
def _chain(pem: str) -> tuple[x509.Certificate, ...]:
    """The chain of what is kept, leaf first; empty when it cannot be read. Each minute asks for the same ones."""
    try:
        first, *others = reading.certificates_in(pem.encode(), "the database")
    except reading.CannotUse:
        return ()
    return tuple(reading.in_order(first, others)[0])


_AGAIN = "Request a new certificate, add it, and roll the mailboxes over to it"
KINDS = (
    Kind(
        ISSUER,
        "Issuer of a certificate ends",
        "certificate has an issuer that ends before it",
        "certificates have issuers that end before them",
        Severity.WARNING,
        f"{_AGAIN} before the issuer ends. The new one must come from an authority that lasts: the portal’s page of it says.",
        Role.MANAGER,
    ),
    Kind(
        GENERATION,
        "Certificate of an older generation",
        "certificate is of an older generation",
        "certificates are of an older generation",
        Severity.WARNING,
        f"{_AGAIN} when it suits you; authorities of an older generation end first. If it may stay, close this with a reason.",
        Role.MANAGER,
    ),
    Kind(
        CHAIN,
        "Chain of a certificate",
        "certificate has no whole chain",
        "certificates have no whole chain",
        Severity.WARNING,
        "Add the certificate again with the chain that came with it. One that was signed by itself must be replaced: request "
        "another.",
        Role.MANAGER,
    ),
    Kind(
        NAME,
        "Certificate does not fit its mailbox",
        "certificate does not fit its mailbox",
        "certificates do not fit their mailboxes",
        Severity.WARNING,
        "Look which certificate each mailbox is set to. One certificate may serve several mailboxes; if this one is meant to, "
        "close this with that reason, else choose the right one or request it.",
        Role.MANAGER,
    ),
    Kind(
        WEAK,
        "Certificate is too weak",
        "certificate is too weak",
        "certificates are too weak",
        Severity.CRITICAL,
        f"{_AGAIN}. MESH takes RSA keys of 2,048 bits or more, signed with SHA-256 or better.",
        Role.MANAGER,
    ),
)
RULE = Rule("certificate chains", (ISSUER, GENERATION, CHAIN, NAME, WEAK), find)
