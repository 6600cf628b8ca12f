"""A team whose certificates lapse in every way that the calendar tells apart; run inside the portal's processes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from certificates.models import CertificateRequest, ClientIdentity
from mailboxes import rollover, services
from mailboxes.models import Mailbox
from meshportal.accounts import services as accounts
from meshportal.accounts.models import Team
from meshportal.audit.actors import Actor

SLUG = "lapsing"
_ACTOR = Actor.command("tests")
# Name, days left, environment, how many mailboxes.
_CERTIFICATES = (
    ("Radiology 2023", -6, "int", 1),
    ("Pathology and blood sciences live 2026", 5, "live", 4),
    ("Maternity 2026", 12, "int", 1),
    ("Community nursing 2026", 16, "live", 2),
    ("Old test client", 45, "sandbox", 0),
    ("GP federation hub, all practices of the north 2027", 75, "live", 12),
    ("Discharge letters 2027", 130, "live", 1),
    ("Child health 2027", 131, "int", 1),
    ("Sexual health 2027", 322, "live", 1),
)


def stage(*, email: str, password: str) -> str:
    """The team, its manager, certificates and mailboxes (paused, so that no other test meets them); its address."""
    team = Team.objects.create(name="Lapsing Trust", slug=SLUG)
    person = accounts.add_person(actor=_ACTOR, email=email, full_name="Cora Calendar", password=password)
    accounts.set_role(actor=_ACTOR, team=team, person=person, role="manager")
    made = {name: _certificate(team, name, days, environment) for name, days, environment, _ in _CERTIFICATES}
    number = 0
    for name, _, environment, boxes in _CERTIFICATES:
        for _ in range(boxes):
            number += 1
            named = f"{name.split()[0]} inbox {number}"
            box = services.add_mailbox(
                actor=_ACTOR, team=team, environment=environment, mailbox_id=f"LAPHC{number:03d}", name=named,
                ods_code="X26", password="password", identity=made[name], mode="watch", poll_interval_seconds=3600,
            )  # fmt: skip
            Mailbox.objects.filter(pk=box.pk).update(mode="paused")
    named = made["Maternity 2026"].subject_cn
    _certificate(team, "Maternity 2029", 1100, "int", subject_cn=named)
    new = _certificate(team, "Community nursing 2029", 1100, "live")
    rollover.begin(actor=_ACTOR, team=team, old=made["Community nursing 2026"], new=new)
    local_id = made["Discharge letters 2027"].subject_cn.partition(".")[0]
    CertificateRequest.objects.create(
        team=team, environment="live", name="Discharge letters 2030", local_id=local_id, ods_code="X26", organisation=team.name,
        why="expiring", key_size=2048, csr_pem="a request", private_key="a key",
    )  # fmt: skip
    return f"/t/{SLUG}/certificates/calendar/"


def _certificate(team: Team, name: str, days: int, environment: str, **fields: str) -> ClientIdentity:
    now = datetime.now(UTC)
    number = ClientIdentity.objects.count()
    values = {
        "certificate_pem": "not a certificate", "private_key": "not a key", "issuer": "A CA", "serial": str(number),
        "subject_cn": f"SERVER{number:03d}.X26.api.mesh-client.nhs.uk", "fingerprint": f"{number:064x}",
        "not_before": now - timedelta(days=1000), "not_after": now + timedelta(days=days, hours=1),
    }  # fmt: skip
    return ClientIdentity.objects.create(team=team, name=name, environment=environment, **{**values, **fields})
