"""Adding teams, people and memberships, each with its audit row."""

from __future__ import annotations

from django.contrib.auth.password_validation import validate_password
from django.db import transaction

from meshportal.accounts.models import Membership, Team, User
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor


def add_team(*, actor: Actor, name: str, slug: str) -> Team:
    """A new team. Raises ValidationError when the name in addresses (``slug``) is taken or malformed."""
    team = Team(name=name, slug=slug)
    team.full_clean()
    with transaction.atomic():
        team.save()
        audit.record(actor=actor, action="team.added", target=team, team=team, after={"slug": slug})
    return team


def add_person(*, actor: Actor, email: str, full_name: str, password: str) -> User:
    """A new person, in no team yet. Raises ValidationError for a weak password or an e-mail address that is taken."""
    person = User(email=User.objects.normalize_email(email).lower(), full_name=full_name)
    validate_password(password, person)
    person.set_password(password)
    person.full_clean()
    with transaction.atomic():
        person.save()
        audit.record(actor=actor, action="person.added", target=person)
    return person


def set_role(*, actor: Actor, team: Team, person: User, role: str) -> Membership:
    """Makes ``person`` a member of ``team`` with ``role``, or changes the role. Raises ValidationError for an unknown role."""
    with transaction.atomic():
        found = Membership.objects.select_for_update().filter(team=team, user=person).first()
        before = found.role if found else ""
        membership = found or Membership(team=team, user=person)
        membership.role = role
        membership.full_clean()
        membership.save()
        if before != role:
            audit.record(
                actor=actor, action="member.role_set", target=person, team=team, before={"role": before}, after={"role": role}
            )
    return membership
