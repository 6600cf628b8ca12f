"""Bringing in the mailboxes of a running MESH client: what it would do, and doing it, all or nothing.

Every mailbox begins in watch mode, so that nothing is taken from the client. How what was brought waits for the word, and
ends: :mod:`mailboxes.keeping`.

| what goes wrong | what stands, and what happens then |
|---|---|
| a configuration that cannot be read | a sentence with the line; nothing is kept |
| a keystore that cannot be opened, or holds no certificate with its key | the sentence of :mod:`certificates.reading` |
| a PrimaryURL of another environment than was chosen | a sentence; nothing is kept |
| a mailbox that another team has | the same sentence as for any that cannot be added, with the line |
| a mailbox that the team has already | it is left as it is, and said so |
| a password that is missing or encrypted | it is typed before the mailboxes are added |
| the process dies between upload and apply | what was uploaded, sealed, until it expires |
| it dies while it is applied | one transaction: nothing, and the import waits as before |
| a mailbox was added or taken by somebody in between | a sentence; nothing is done |

Locks are taken in the order import, team, mailboxes, audit, as everywhere.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from certificates import reading
from certificates.models import ClientIdentity, Environment
from certificates.services import import_identity
from mailboxes import examining, keeping, services
from mailboxes.client import config, telling
from mailboxes.import_rows import TAKEN
from mailboxes.models import ClientImport, ClientMailbox, Examination, Mailbox, Mode
from meshportal.accounts.models import Team
from meshportal.accounts.scoping import in_team
from meshportal.audit import context
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused

CHANGED = "Mailboxes of this client were added to the portal since you looked, so nothing was done. Upload the files again."
NOTHING = "Every mailbox of this client is in the portal already."
_NO_ODS = "Give the ODS code of the organisation: neither the certificate nor the file says it."


@dataclass(frozen=True)
class Box:
    """A mailbox of the client. ``kind`` is add or same; ``typed``: its password must be typed."""

    line: int
    mailbox_id: str
    kind: str
    typed: bool
    interface_root: str


@dataclass(frozen=True)
class Given:
    """What a person brings. ``ods_code`` and ``name`` may be '': then the certificate says the one, the file the other."""

    environment: str
    data: bytes
    keystore: reading.Source
    passphrase: str = ""
    ods_code: str = ""
    name: str = ""
    file_name: str = ""


def prepare(*, actor: Actor, team: Team, given: Given) -> ClientImport:
    """Keeps what was brought, sealed, until it is applied or expires. Raises ValidationError by field."""
    try:
        read = config.parse(given.data)
    except config.ConfigError as error:
        raise ValidationError({"config": str(error)}) from None
    works_in = telling.environment_of(read)
    if works_in and works_in != given.environment:
        label, chosen = Environment(works_in).label.lower(), Environment(given.environment).label.lower()
        line = read.settings["PrimaryURL"].line
        raise ValidationError({"environment": f"Line {line}: this client works in {label}, and you chose {chosen}."})
    passphrase = given.passphrase or read.passphrase
    try:
        material = reading.read([given.keystore], passphrase, environment=given.environment, now=timezone.now())
    except reading.CannotUse as refusal:
        field = "passphrase" if refusal.about == "passphrase" else "keystore"
        raise ValidationError({field: refusal.sentence}) from None
    leaf = material.examined.leaf
    twin = _twin(team, given.environment, leaf.fingerprint)
    ods_code = (given.ods_code or material.examined.ods_code or "").strip().upper()
    if not ods_code:
        raise ValidationError({"ods_code": _NO_ODS})
    boxes = _boxes(team, given.environment, read)
    notes = [*telling.missing(read), *(warned.sentence for warned in material.warnings)]
    clients = {
        client.mailbox_id: {
            "password": client.password,
            "interface_root": client.value("InterfaceRoot"),
            "switches": {name: client.value(name).upper() for name in config.SWITCHES if client.value(name)},
        }
        for client in read.clients
    }
    name = (twin.name if twin else given.name.strip()) or f"MESH client {leaf.subject}"[:150]
    with transaction.atomic():
        made = ClientImport.objects.create(
            team=team,
            environment=given.environment,
            held={
                "keystore": base64.b64encode(given.keystore.data).decode(),
                "keystore_name": given.keystore.where,
                "passphrase": passphrase,
                "clients": clients,
                "ods_code": ods_code,
                "poll_seconds": telling.poll_seconds(read),
                "poll_minutes": read.poll_minutes,
            },
            lines=[asdict(told) for told in telling.tell(read, given.environment)],
            boxes=[asdict(box) for box in boxes],
            notes=notes,
            certificate={
                "name": name,
                "subject": leaf.subject,
                "known": twin is not None,
                "until": material.examined.effective_expiry.isoformat(),
                "ods_code": ods_code,
            },
            **keeping.beginning(actor=actor, file_name=given.file_name),
        )
        with context.request(made.request_id):
            after = {"environment": given.environment, "mailboxes": len(boxes)}
            audit.record(actor=actor, action="client_import.prepared", target=made, team=team, after=after)
    return made


def apply(*, actor: Actor, imported: ClientImport, passwords: Mapping[str, str]) -> Examination:
    """Adds the certificate and the mailboxes in watch mode, and has each connection examined.

    ``passwords`` by mailbox ID, for those that must be typed; one that is given wins over that of the file. Raises Refused,
    and ValidationError by ``password_ID`` for those that are missing; then nothing was done.
    """
    with transaction.atomic(), context.request(imported.request_id):
        held = keeping.held(imported)
        kept = keeping.opened(held)
        team = Team.objects.select_for_update(no_key=True).get(pk=held.team_id)
        boxes = [Box(**box) for box in held.boxes]
        _check_still(team, held.environment, boxes)
        given = {box.mailbox_id: passwords.get(box.mailbox_id) or kept["clients"][box.mailbox_id]["password"] for box in boxes}
        new = [box for box in boxes if box.kind == "add"]
        if without := [box for box in new if not given[box.mailbox_id]]:
            said = "Type the password of mailbox {}, from the second of the two e-mails."
            raise ValidationError({f"password_{box.mailbox_id}": said.format(box.mailbox_id) for box in without})
        if not new:
            raise Refused(NOTHING)
        identity = _identity(actor, team, held, kept)
        added = []
        for box in boxes:
            if box.kind == "add":
                mailbox = services.add_mailbox(
                    actor=actor,
                    team=team,
                    environment=held.environment,
                    mailbox_id=box.mailbox_id,
                    name=box.mailbox_id,
                    ods_code=kept["ods_code"],
                    password=given[box.mailbox_id],
                    identity=identity,
                    mode=Mode.WATCH,
                    poll_interval_seconds=kept["poll_seconds"],
                )
                added.append(mailbox.pk)
            else:
                mailbox = in_team(Mailbox, team).defer("password").get(environment=held.environment, mailbox_id=box.mailbox_id)
            facts = {
                "interface_root": kept["clients"][box.mailbox_id]["interface_root"],
                "switches": kept["clients"][box.mailbox_id]["switches"],
                "poll_minutes": kept["poll_minutes"],
            }
            ClientMailbox.objects.update_or_create(mailbox=mailbox, defaults={"team": team, **facts})
        after = {"environment": held.environment, "added": len(added), "unchanged": len(boxes) - len(added)}
        audit.record(actor=actor, action="client_import.applied", target=held, team=team, after=after)
        examination = examining.begin(actor=actor, team=team, environment=held.environment, mailboxes=added)
        keeping.end(held, applied_at=timezone.now(), examination=examination)
    return examination


def _boxes(team: Team, environment: str, read: config.Config) -> list[Box]:
    ids = [client.mailbox_id for client in read.clients]
    there = dict(Mailbox.objects.filter(environment=environment, mailbox_id__in=ids).values_list("mailbox_id", "team_id"))
    found = []
    for client in read.clients:
        owner = there.get(client.mailbox_id)
        if owner not in (None, team.pk):
            raise ValidationError({"config": f"Line {client.line}: {TAKEN}"})
        kind = "add" if owner is None else "same"
        typed = kind == "add" and not client.password
        found.append(Box(client.line, client.mailbox_id, kind, typed, client.value("InterfaceRoot")))
    return found


def _check_still(team: Team, environment: str, boxes: list[Box]) -> None:
    ids = [box.mailbox_id for box in boxes]
    there = dict(Mailbox.objects.filter(environment=environment, mailbox_id__in=ids).values_list("mailbox_id", "team_id"))
    for box in boxes:
        expected = None if box.kind == "add" else team.pk
        if there.get(box.mailbox_id) != expected:
            raise Refused(CHANGED)


def _twin(team: Team, environment: str, fingerprint: str) -> ClientIdentity | None:
    rows = in_team(ClientIdentity, team).filter(environment=environment, fingerprint=fingerprint)
    return rows.defer("private_key", "certificate_pem").first()


def _identity(actor: Actor, team: Team, held: ClientImport, kept: Mapping[str, Any]) -> ClientIdentity:
    source = reading.Source(kept["keystore_name"], base64.b64decode(kept["keystore"]))
    try:
        identity, _ = import_identity(
            actor=actor,
            team=team,
            environment=held.environment,
            name=held.certificate["name"],
            sources=[source],
            passphrase=kept["passphrase"],
        )
    except ValidationError as error:
        if getattr(error, "code", "") == "already_there":
            material = reading.read([source], kept["passphrase"], environment=held.environment, now=timezone.now())
            twin = _twin(team, held.environment, material.examined.leaf.fingerprint)
            if twin is not None:
                return twin
        raise Refused(f"Nothing was done. {' '.join(error.messages)}") from None
    return identity
