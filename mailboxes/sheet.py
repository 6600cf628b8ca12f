"""The file of mailboxes: what its columns hold, on the way in and on the way out.

An export has every column and no secret; read back, it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from certificates.models import Environment
from mailboxes import selectors
from mailboxes.models import Channel, Mailbox, Mode, Outlet
from mailboxes.models.mailbox import MAX_POLL_SECONDS, mailbox_id_shape
from mailboxes.models.organisation import ods_code_shape
from meshportal.accounts.models import Team
from meshportal.accounts.scoping import in_team
from meshportal.core import csvin, csvout
from meshportal.core.csvin import Column, Table

# The file holds words that people know; the models other ones.
FIELDS = {"certificate": "identity", "poll_seconds": "poll_interval_seconds"}
COLUMNS = {field: column for column, field in FIELDS.items()} | {"webhook_url": "webhook"}
# What a mailbox that is new cannot be without.
NEEDED_WHEN_NEW = ("ods_code", "name", "password")
SECRETS = ("password", "webhook_secret")

TABLE = Table(
    one="mailbox",
    key=("mailbox_id", "environment"),
    most_rows=1_000,
    most_bytes=1_000_000,
    columns=(
        Column(
            "mailbox_id",
            csvin.text(most=100, upper=True, check=mailbox_id_shape),
            needed=True,
            says="Which mailbox. One that is not there yet is added.",
            example="X26HC005",
        ),
        Column(
            "environment",
            csvin.choice(Environment.choices),
            needed=True,
            says="live, int or sandbox. The same in every row: environments are never mixed in one act.",
            example="live",
        ),
        Column(
            "ods_code",
            csvin.text(most=12, upper=True, check=ods_code_shape, empty=None),
            says="Whose mailbox it is. Needed for a new one, and stays as it is afterwards.",
            example="X26",
        ),
        Column(
            "name", csvin.text(most=150, empty=None), says="What your staff call it. Needed for a new one.", example="Pathology"
        ),
        Column(
            "password",
            csvin.secret(most=200, empty=None),
            secret=True,
            says="Needed for a new one. Never in an export; empty keeps the one that is there.",
        ),
        Column(
            "certificate",
            csvin.text(most=150, empty=None),
            says="The name of a certificate of this team and environment, as in the list of certificates.",
            example="Pathology live 2026",
        ),
        Column(
            "mode",
            csvin.choice(Mode.choices, empty=None),
            says="watch (a new one, when empty), collect or paused.",
            example="watch",
        ),
        Column(
            "workflow_filter",
            csvin.text(most=255, empty=""),
            says="Which workflows are listed; empty for all.",
            example="TOC_*",
        ),
        Column(
            "poll_seconds",
            csvin.whole(least=1, most=MAX_POLL_SECONDS, empty=None),
            says="Seconds between polls, 300 at least.",
            example="300",
        ),
        Column(
            "folder",
            csvin.text(most=200, empty=""),
            says="Its folder in the MESH client’s layout, below the portal’s root of folders; empty for none.",
            example="pathology/X26HC005",
        ),
        Column(
            "send_from_folder",
            csvin.yes_or_no(empty=None),
            says="yes or no: whether documents put into OUT of its folder are sent.",
            example="no",
        ),
        Column(
            "hand_on_to_folder",
            csvin.yes_or_no(empty=None),
            says="yes or no: whether received messages are put into IN of its folder.",
            example="no",
        ),
        Column(
            "webhook",
            csvin.text(most=500, empty=""),
            says="The https address that received messages are handed on to; empty for none.",
        ),
        Column(
            "webhook_secret",
            csvin.secret(most=500, empty=None),
            secret=True,
            says="What its requests are signed with. Never in an export; empty keeps the one that is there.",
        ),
    ),
)
BY_NAME = {column.name: column for column in TABLE.columns}


def current(mailbox: Mailbox, outlets: dict[str, Outlet]) -> dict[str, Any]:
    """What the columns hold for ``mailbox``, without secrets; ``outlets`` are its own, by channel."""
    folder, webhook = outlets.get(Channel.FOLDER), outlets.get(Channel.WEBHOOK)
    return {
        "mailbox_id": mailbox.mailbox_id,
        "environment": mailbox.environment,
        "ods_code": mailbox.organisation.ods_code,
        "name": mailbox.name,
        "certificate": mailbox.identity.name if mailbox.identity is not None else "",
        "mode": mailbox.mode,
        "workflow_filter": mailbox.workflow_filter,
        "poll_seconds": mailbox.poll_interval_seconds,
        "folder": mailbox.folder,
        "send_from_folder": mailbox.send_from_folder,
        "hand_on_to_folder": folder is not None and folder.enabled,
        "webhook": webhook.url if webhook is not None and webhook.enabled else "",
    }


def written(value: Any) -> str:
    """How a value stands in a file."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def as_read_back(name: str, value: Any) -> Any:
    """What a cell that was exported with ``value`` is read as: blanks around a name are no change of it."""
    try:
        return csvin.parsed(BY_NAME[name], csvout.safe(written(value)))
    except csvin.Wrong:
        return value


def outlets_by_mailbox(team: Team) -> dict[Any, dict[str, Outlet]]:
    """Where the team's mailboxes hand messages on to, by mailbox and channel, without secrets."""
    found: dict[Any, dict[str, Outlet]] = {}
    for outlet in in_team(Outlet, team).defer("secret"):
        found.setdefault(outlet.mailbox_id, {})[outlet.channel] = outlet
    return found


def exported(team: Team, environment: str) -> Iterator[list[str]]:
    """A row for each of the team's mailboxes in an environment."""
    outlets = outlets_by_mailbox(team)
    for mailbox in selectors.mailboxes_of(team).filter(environment=environment):
        cells = current(mailbox, outlets.get(mailbox.pk, {}))
        yield [written(cells.get(name)) for name in TABLE.header]
