"""Fills the portal's database with the demonstration's teams, people and mailboxes, through the portal's own services.

Import only after Django was set up. Running it again changes nothing that is there.
"""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import connection, transaction

from certificates import services as certificates
from certificates.models import ClientIdentity
from certificates.reading import Source
from mailboxes import services as mailboxes
from mailboxes.models import Mailbox, Mode
from meshportal.accounts import services as accounts
from meshportal.accounts.models import Membership, Team, User
from meshportal.audit.actors import Actor
from meshportal.core.crypto import CannotUnseal
from meshportal.demo import world
from meshportal.demo.pki import Identity, Pki
from meshportal.demo.stage import DemoError, write_private

ACTOR = Actor.command("demo")
_ENVIRONMENT = "sandbox"


def migrate() -> None:
    """Brings the database to the newest form."""
    call_command("migrate", verbosity=0, interactive=False)


def refuse_strangers() -> None:
    """Raises DemoError when the database holds what no demonstration put there. Ask before :func:`migrate`."""
    tables = connection.introspection.table_names()
    if not {Team._meta.db_table, Mailbox._meta.db_table} <= set(tables):
        return
    ours = [team.slug for team in world.TEAMS]
    if Team.objects.exclude(slug__in=ours).exists() or Mailbox.objects.exclude(environment=_ENVIRONMENT).exists():
        raise DemoError(
            "The database in DATABASE_URL is in real use (it holds another team, or mailboxes outside the sandbox). "
            "The demonstration needs a database of its own."
        )


def is_new() -> bool:
    """True when nothing was filled in yet. Raises DemoError when our keys do not open what was."""
    try:
        return not list(Mailbox.objects.values_list("password", flat=True))
    except CannotUnseal:
        raise DemoError(
            "The database was filled by a demonstration with other keys. Use an empty database, or put back the .demo "
            "folder that it was filled from."
        ) from None


def seed(pki: Pki, *, password: str) -> None:
    """Adds what is missing. Mailboxes are worked with this Pki from now on."""
    certificates.replace_trust_bundle(
        actor=ACTOR, environment=_ENVIRONMENT, name="Demonstration CA", pem=pki.authority.certificate_pem
    )
    for spec in world.TEAMS:
        team = Team.objects.filter(slug=spec.slug).first() or accounts.add_team(actor=ACTOR, name=spec.name, slug=spec.slug)
        _mailboxes(team, _identity(team, pki.clients[spec.certificate_for]))
    _people(password)


def _identity(team: Team, issued: Identity) -> ClientIdentity:
    serial = f"{issued.certificate.serial_number:x}"[:60]
    held = ClientIdentity.objects.filter(team=team, environment=_ENVIRONMENT, serial=serial).first()
    if held is not None:
        return held
    name = f"Sandbox certificate to {issued.not_after:%B %Y}"
    if ClientIdentity.objects.filter(team=team, environment=_ENVIRONMENT, name=name).exists():
        name = f"{name} ({serial[:8]})"
    identity, _ = certificates.import_identity(
        actor=ACTOR,
        team=team,
        environment=_ENVIRONMENT,
        name=name,
        sources=[Source("the demonstration", issued.certificate_pem + issued.key_pem)],
    )
    return identity


def _mailboxes(team: Team, identity: ClientIdentity) -> None:
    held = {row.mailbox_id: row for row in Mailbox.objects.filter(team=team, environment=_ENVIRONMENT)}
    for spec in world.MAILBOXES:
        if spec.team != team.slug:
            continue
        row = held.get(spec.mailbox_id)
        if row is None:
            mailboxes.add_mailbox(
                actor=ACTOR,
                team=team,
                environment=_ENVIRONMENT,
                mailbox_id=spec.mailbox_id,
                name=spec.name,
                ods_code=spec.ods_code,
                organisation_name=world.ORGANISATIONS[spec.ods_code],
                password=spec.password,
                identity=identity,
                mode=Mode(spec.mode),
                poll_interval_seconds=world.POLL_SECONDS,
            )
        elif row.identity_id != identity.pk:
            mailboxes.change_mailbox(actor=ACTOR, mailbox=row, reason="The demonstration's CA was made anew.", identity=identity)


def _people(password: str) -> None:
    known = {user.email: user for user in User.objects.all()}
    if known and not next(iter(known.values())).check_password(password):
        # The folder was removed, the database was not: the password on the screen must be the one that works.
        for user in known.values():
            user.set_password(password)
            user.save(update_fields=["password"])
    teams = {team.slug: team for team in Team.objects.all()}
    roles = set(Membership.objects.values_list("user__email", "team__slug", "role"))
    for spec in world.PEOPLE:
        with transaction.atomic():
            person = known.get(spec.email) or accounts.add_person(
                actor=ACTOR, email=spec.email, full_name=spec.name, password=password
            )
            for slug, role in spec.roles:
                if (spec.email, slug, role) not in roles:
                    accounts.set_role(actor=ACTOR, team=teams[slug], person=person, role=role)


def collect_static() -> None:
    """Hashes and compresses the static files, unless nothing changed since the last time."""
    mark = Path(settings.STATIC_ROOT) / ".collected-from"
    found = []
    for finder in get_finders():
        for name, storage in finder.list(["CVS", ".*", "*~"]):
            status = Path(storage.path(name)).stat()
            found.append(f"{name} {status.st_size} {status.st_mtime_ns}")
    now = "\n".join(sorted(found))
    if mark.exists() and mark.read_text() == now:
        return
    call_command("collectstatic", verbosity=0, interactive=False)
    write_private(mark, now)
