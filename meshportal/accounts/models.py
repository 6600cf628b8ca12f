"""User, Team (the customer of the portal) and Membership (who may do what in which team)."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models.functions import Lower

from meshportal.audit.actors import Actor
from meshportal.core.models import BaseModel


class UserManager(BaseUserManager["User"]):
    """Finds people by e-mail address, whatever its case."""

    def get_by_natural_key(self, username: str | None) -> User:
        # Addresses are kept in lower case. A comparison in the database would take other letters for the same (a dotless i),
        # and each way of writing one would have tries of its own.
        return self.get(email=(username or "").lower())

    def create_user(self, email: str, password: str | None = None, *, full_name: str, **extra: Any) -> User:
        """A person who signs in with ``email``; without a password they cannot yet."""
        user = self.model(email=self.normalize_email(email).lower(), full_name=full_name, **extra)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser, BaseModel):
    """A person. There are no site-wide rights: what one may do comes from memberships alone."""

    email = models.EmailField(max_length=254, unique=True)
    full_name = models.CharField(max_length=150)
    is_active = models.BooleanField(default=True)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["full_name"]

    objects: ClassVar[UserManager] = UserManager()

    class Meta:
        constraints = (models.UniqueConstraint(Lower("email"), name="user_email_unique"),)

    def __str__(self) -> str:
        return f"{self.full_name} <{self.email}>"


class Team(BaseModel):
    """A customer of the portal: sees its own mailboxes and nothing else."""

    name = models.CharField(max_length=150)
    slug = models.SlugField(max_length=60, unique=True)

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    """What a member is to a team; see :mod:`meshportal.accounts.policies` for what each may do."""

    VIEWER = "viewer", "Viewer"
    OPERATOR = "operator", "Operator"
    MANAGER = "manager", "Manager"
    AUDITOR = "auditor", "Auditor"


class Membership(BaseModel):
    """A person's role in a team."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role.choices)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["user", "team"], name="membership_once"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="membership_role_known"),
        )

    def __str__(self) -> str:
        return f"{self.user} as {self.role} of {self.team}"


class TeamOwned(BaseModel):
    """A row that belongs to one team and is reached through :mod:`meshportal.accounts.scoping` alone."""

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="+")

    class Meta:
        abstract = True


class Gesture(TeamOwned):
    """What somebody asked for at one word and others work off, row by row.

    Its id in hexadecimal is the request id of every audit event that belongs to it.
    """

    actor_kind = models.CharField(max_length=20)
    actor_id = models.CharField(max_length=200)
    actor_label = models.CharField(max_length=300)

    class Meta:
        abstract = True

    @property
    def actor(self) -> Actor:
        """Who asked for it, for what is recorded of each row."""
        return Actor(kind=self.actor_kind, id=self.actor_id, label=self.actor_label)

    @property
    def short_id(self) -> str:
        """What people call it."""
        return self.id.hex[:8]

    @property
    def request_id(self) -> str:
        """What ties its audit events together."""
        return self.id.hex

    @staticmethod
    def asked_by_actor(actor: Actor) -> dict[str, str]:
        """The fields that say who asked."""
        return {"actor_kind": actor.kind, "actor_id": actor.id[:200], "actor_label": actor.label[:300]}
