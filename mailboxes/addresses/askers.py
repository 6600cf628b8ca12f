"""Who asks MESH: a mailbox of a team that has the question in its book.

MESH answers a lookup to a client certificate, whatever the mailbox (MESH API specification, Look up MESH address). Whether it
also wants a token is said differently in different places; one is sent, since that is right either way. A mailbox that cannot
sign in is left out for a while, so that a night's questions do not become a night's refusals.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.db.models import Case, When

from mailboxes import connections
from mailboxes.models import Mailbox, Mode
from mailboxes.problems import UNREADABLE_SECRET, NotConfigured, Problem, explain
from meshportal.core.crypto import CannotUnseal
from meshportal.mesh import MeshClient, errors

log = structlog.get_logger("mailboxes.addresses")

Found = TypeVar("Found")
NOBODY = Problem(
    "nobody_to_ask",
    "No mailbox of the team in this environment can ask MESH: there is none with a certificate, or all are paused.",
    "Add a mailbox of this environment with its certificate, or take a paused one up again.",
)
# The signs of a healthy one first; more than a few that fail mean that the next would, too.
_MOST = 3
_LEFT_OUT_SECONDS = 300.0
_left_out: dict[tuple[Any, ...], tuple[float, Problem]] = {}
_lock = threading.Lock()


class CannotAsk(Exception):
    """No mailbox could ask; ``problem`` says why. It says nothing about what was asked."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


class Askers:
    """The mailboxes of some teams in one environment, for a handful of questions in one thread."""

    def __init__(self, environment: str, teams: Iterable[Any]) -> None:
        healthy_first = Case(When(problem_code="", then=0), default=1)
        rows = Mailbox.objects.filter(environment=environment, team__in=set(teams), identity__isnull=False)
        rows = rows.exclude(mode=Mode.PAUSED).order_by(healthy_first, "pk")
        self._environment = environment
        self._candidates = list(rows.values_list("pk", "team_id", "revision", "identity__updated_at"))
        self._clients: dict[Any, MeshClient] = {}

    def ask(self, teams: Collection[Any], question: Callable[[MeshClient], Found]) -> Found:
        """What MESH answers. Raises CannotAsk, and errors of :mod:`meshportal.mesh.errors` that no other mailbox would mend."""
        problem = NOBODY
        mine = [one for one in self._candidates if one[1] in teams]
        for candidate in mine[:_MOST]:
            known = _reason(candidate)
            if known is not None:
                problem = known
                continue
            try:
                return question(self._client(candidate[0]))
            except NotConfigured as error:
                problem = error.problem
            except CannotUnseal:
                problem = UNREADABLE_SECRET
            except errors.MeshError as error:
                if not error.misconfigured:
                    raise
                problem = told(error, self._environment)
            log.warning("asker_left_out", mailbox=str(candidate[0]), problem=problem.code)
            with _lock:
                _left_out[candidate] = (time.monotonic() + _LEFT_OUT_SECONDS, problem)
        raise CannotAsk(problem)

    def _client(self, key: Any) -> MeshClient:
        if key not in self._clients:
            mailbox = Mailbox.objects.select_related("identity").get(pk=key)
            # A question is small: it waits as long as a person would, and is not repeated within its slot.
            self._clients[key] = connections.client_for(mailbox, somebody_waits=True)
        return self._clients[key]


def host_of(environment: str) -> str:
    """The host name of an environment, for sentences."""
    return urlsplit(settings.MESH_URLS[environment]).hostname or ""


def told(error: errors.MeshError, environment: str) -> Problem:
    """Why a question was not answered."""
    if isinstance(error, errors.BodyError):
        return Problem("truncated", "The answer of MESH came cut short.", "The portal asks again by itself.")
    return explain(error, host=host_of(environment))


def forget() -> None:
    """Every mailbox may ask again (tests)."""
    with _lock:
        _left_out.clear()


def _reason(candidate: tuple[Any, ...]) -> Problem | None:
    with _lock:
        until, problem = _left_out.get(candidate, (0.0, NOBODY))
        if until > time.monotonic():
            return problem
        _left_out.pop(candidate, None)
    return None
