"""One table: role to capabilities. Nothing else decides what a person may do."""

from __future__ import annotations

from meshportal.accounts.models import Membership, Role

_VIEW = frozenset({"mailbox.view", "message.view", "certificate.view", "address.view", "alert.view", "switch.view"})
_OPERATE = _VIEW | {
    "mailbox.poll",
    "message.retry",
    "message.read_body",
    "message.send",
    "address.manage",
    "alert.act",
    "switch.work",
}
_MANAGE = _OPERATE | {
    "message.discard",
    "mailbox.manage",
    "workflow.manage",
    "certificate.manage",
    "certificate.export_key",
    "channel.manage",
    "audit.view",
    "switch.manage",
}

CAPABILITIES: dict[str, frozenset[str]] = {
    Role.VIEWER: _VIEW,
    Role.OPERATOR: _OPERATE,
    Role.MANAGER: _MANAGE,
    # Reviews who did what; reads no body.
    Role.AUDITOR: _VIEW | {"audit.view"},
}
EVERY_CAPABILITY = frozenset().union(*CAPABILITIES.values())


def allows(role: str, capability: str) -> bool:
    """True when ``role`` carries ``capability``.

    A capability nobody declared raises KeyError: a typing error must not open or close a door.
    """
    if capability not in EVERY_CAPABILITY:
        raise KeyError(f"Unknown capability {capability!r}.")
    return capability in CAPABILITIES.get(role, frozenset())


def can(membership: Membership, capability: str) -> bool:
    """:func:`allows` for a member."""
    return allows(membership.role, capability)
