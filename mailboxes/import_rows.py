"""One row of a file of mailboxes: what it changes, and the acts that change it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from certificates.models import ClientIdentity, Environment
from mailboxes import outlets, services, sheet
from mailboxes.models import Mailbox, Mode, Outlet
from mailboxes.models.mailbox import MIN_POLL_SECONDS
from meshportal.accounts.models import Team
from meshportal.accounts.scoping import in_team
from meshportal.audit.actors import Actor
from meshportal.core.crypto import CannotUnseal
from meshportal.core.csvin import Problem, Row

TAKEN = "A mailbox with this ID cannot be added to this environment. Ask whoever runs the portal why."
_SEALED = ("password", "identity__private_key", "identity__certificate_pem")
_NEEDED = {
    "ods_code": "This mailbox is new, so it needs the ODS code of its organisation.",
    "name": "This mailbox is new, so it needs a name.",
    "password": "This mailbox is new, so it needs its password, from the second of the two e-mails.",
}


@dataclass(frozen=True)
class Line:
    """What a row does, in words. ``kind`` is add, change or same; ``changes`` are column, before and after."""

    row: int
    kind: str
    mailbox_id: str
    name: str
    changes: list[list[str]]


@dataclass
class Done:
    """What came of a row: a line, or what is wrong."""

    line: Line | None = None
    problems: list[Problem] = field(default_factory=list)
    mailbox_pk: Any = None
    revision: int = 0


class RowWorker:
    """Carries out the rows of a file for one team and environment, in a transaction of the caller.

    What is read for all rows is read once; the mailboxes that are there are locked, in the order of their ids.
    """

    def __init__(self, actor: Actor, team: Team, environment: str, rows: Sequence[Row], reason: str) -> None:
        self._actor, self._team, self._environment, self._reason = actor, team, environment, reason
        ids = [row.values["mailbox_id"] for row in rows]
        there = Mailbox.objects.filter(environment=environment, mailbox_id__in=ids)
        ours = there.filter(team=team).select_for_update(of=("self",)).select_related("organisation", "identity", "team")
        self._mailboxes = {mailbox.mailbox_id: mailbox for mailbox in ours.defer(*_SEALED).order_by("pk")}
        self._taken = set(there.exclude(team=team).values_list("mailbox_id", flat=True))
        identities = in_team(ClientIdentity, team).filter(environment=environment).defer("private_key", "certificate_pem")
        self._identities = {identity.name.strip(): identity for identity in identities}
        self._outlets: dict[Any, dict[str, Outlet]] = sheet.outlets_by_mailbox(team) if self._mailboxes else {}

    def work(self, row: Row) -> Done:
        """Does what ``row`` says. With problems, nothing of it was done."""
        given = dict(row.values)
        mailbox_id = given["mailbox_id"]
        problems: list[Problem] = []
        if given.get("certificate") and given["certificate"] not in self._identities:
            label = Environment(self._environment).label.lower()
            sentence = f"The team has no certificate of this name for {label}. Add it first, or look at how it is written."
            problems.append(Problem(sentence, row.number, "certificate"))
        every = given.get("poll_seconds")
        if every is not None and every < MIN_POLL_SECONDS and self._environment != Environment.SANDBOX:
            sentence = f"MESH asks for at least {MIN_POLL_SECONDS} seconds between polls."
            problems.append(Problem(sentence, row.number, "poll_seconds"))
        mailbox = self._mailboxes.get(mailbox_id)
        if mailbox is None:
            problems += self._missing(row)
        elif given.get("ods_code") not in (None, mailbox.organisation.ods_code):
            sentence = "A mailbox stays with its organisation. Write its ODS code as it was, or leave the cell empty."
            problems.append(Problem(sentence, row.number, "ods_code"))
        if problems:
            return Done(problems=problems)
        try:
            with transaction.atomic():
                return self._add(row, given) if mailbox is None else self._change(row, given, mailbox)
        except ValidationError as error:
            return Done(problems=_problems(row, error))
        except IntegrityError:
            sentence = "Somebody else changed this in the same moment. Upload the file again."
            return Done(problems=[Problem(sentence, row.number)])

    def _missing(self, row: Row) -> list[Problem]:
        if row.values["mailbox_id"] in self._taken:
            return [Problem(TAKEN, row.number, "mailbox_id")]
        wanted = [name for name in sheet.NEEDED_WHEN_NEW if row.values.get(name) is None]
        return [Problem(_NEEDED[name], row.number, name) for name in wanted]

    def _add(self, row: Row, given: dict[str, Any]) -> Done:
        mailbox = services.add_mailbox(
            actor=self._actor,
            team=self._team,
            environment=self._environment,
            mailbox_id=given["mailbox_id"],
            name=given["name"],
            ods_code=given["ods_code"],
            password=given["password"],
            identity=self._identities.get(given.get("certificate") or ""),
            mode=given.get("mode") or Mode.WATCH,
            workflow_filter=given.get("workflow_filter") or "",
            poll_interval_seconds=given.get("poll_seconds"),
        )
        self._settings(mailbox, {name: given[name] for name in ("folder", "send_from_folder") if given.get(name)})
        self._handing(mailbox, {name: given[name] for name in _HANDING if given.get(name)}, "")
        given.setdefault("mode", None)
        given["mode"] = given["mode"] or Mode.WATCH
        said = [
            [name, "", _words(name, value)]
            for name, value in given.items()
            if name not in ("mailbox_id", "environment", "name") and value not in (None, "", False)
        ]
        said.sort(key=lambda change: sheet.TABLE.header.index(change[0]))
        return Done(Line(row.number, "add", mailbox.mailbox_id, mailbox.name, said), mailbox_pk=mailbox.pk)

    def _change(self, row: Row, given: dict[str, Any], mailbox: Mailbox) -> Done:
        now = sheet.current(mailbox, self._outlets.get(mailbox.pk, {}))
        changed: dict[str, Any] = {}
        said = []
        for name in sheet.TABLE.header:
            value = given.get(name)
            if name in sheet.SECRETS:
                # The secret of a webhook is not compared: nobody but whoever signs reads it.
                if value is not None and (name != "password" or not _same_password(mailbox, value)):
                    changed[name] = value
                    said.append([name, "", "changed"])
            elif value is not None and value != sheet.as_read_back(name, now[name]):
                changed[name] = value
                said.append([name, _words(name, now[name]), _words(name, value)])
        line = Line(row.number, "change" if changed else "same", mailbox.mailbox_id, mailbox.name, said)
        done = Done(line, mailbox_pk=mailbox.pk, revision=mailbox.revision)
        if changed:
            handing = {name: changed[name] for name in _HANDING if name in changed}
            stop = handing.get("hand_on_to_folder") is False
            if stop:
                self._handing(mailbox, {"hand_on_to_folder": handing.pop("hand_on_to_folder")}, now["webhook"])
            self._settings(mailbox, {name: value for name, value in changed.items() if name not in _HANDING})
            self._handing(mailbox, handing, now["webhook"])
        return done

    def _settings(self, mailbox: Mailbox, values: dict[str, Any]) -> None:
        changes = {sheet.FIELDS.get(name, name): value for name, value in values.items()}
        if "identity" in changes:
            changes["identity"] = self._identities[changes["identity"]]
        if changes:
            services.change_mailbox(actor=self._actor, mailbox=mailbox, reason=self._reason, **changes)

    def _handing(self, mailbox: Mailbox, values: dict[str, Any], webhook: str) -> None:
        act: dict[str, Any] = {"actor": self._actor, "mailbox": mailbox, "reason": self._reason}
        if "hand_on_to_folder" in values:
            outlets.set_folder(**act, enabled=values["hand_on_to_folder"])
        if {"webhook", "webhook_secret"} & set(values):
            outlets.set_webhook(**act, url=values.get("webhook", webhook), secret=values.get("webhook_secret"))


_HANDING = ("hand_on_to_folder", "webhook", "webhook_secret")


def _same_password(mailbox: Mailbox, given: str) -> bool:
    try:
        kept: Any = Mailbox.objects.values_list("password", flat=True).get(pk=mailbox.pk)
    except CannotUnseal:
        # One that no key opens is what a person is about to replace.
        return False
    return bool(kept == given)


def _words(name: str, value: Any) -> str:
    """A value as people read it; a secret never."""
    if name in sheet.SECRETS:
        return "given"
    if name == "mode":
        return str(Mode(value).label)
    return sheet.written(value)


def _problems(row: Row, error: ValidationError) -> list[Problem]:
    if not hasattr(error, "error_dict"):
        return [Problem(" ".join(error.messages), row.number)]
    found = []
    for name, sentences in error.message_dict.items():
        column = sheet.COLUMNS.get(name, name)
        shown = column if column in sheet.BY_NAME else ""
        found += [Problem(sentence, row.number, shown) for sentence in sentences]
    return found
