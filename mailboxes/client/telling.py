"""What of a ``meshclient.cfg`` maps to the portal and what does not, line by line, in words without secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

from certificates.models import Environment
from mailboxes.client import places
from mailboxes.client.config import SECRET, Config, Setting
from mailboxes.models.mailbox import MAX_POLL_SECONDS, MIN_POLL_SECONDS

TAKEN, YOURS, OTHERWISE, LEFT_OUT, UNKNOWN = "taken", "yours", "otherwise", "left_out", "unknown"
# What is said of each, and its tone.
KINDS: dict[str, tuple[str, str]] = {
    TAKEN: ("Taken over", "good"),
    YOURS: ("You give it", "warn"),
    OTHERWISE: ("Done another way", "quiet"),
    LEFT_OUT: ("Not needed", "quiet"),
    UNKNOWN: ("Not known", "warn"),
}
_SET_FOR_ALL = "The portal has one for the whole environment, set by whoever runs it."
_HISTORY = "The portal’s history shows this for every message. It writes no such file."
_SAID: dict[str, tuple[str, str]] = {
    "LogPath": (LEFT_OUT, "The portal keeps its own log."),
    "WorkPath": (LEFT_OUT, "For the client’s own files."),
    "SignalPath": (LEFT_OUT, "Stops the client. The portal’s mailboxes are paused one by one."),
    "ProxyPath": (OTHERWISE, "The client may go through a proxy. The portal reaches MESH as its server does: the check of the "
                             "connection says whether that works."),
    "ServerRetry": (OTHERWISE, "The portal tries again by itself, with growing gaps."),
    "MaxMessages": (OTHERWISE, "The portal takes all messages that wait, page by page."),
    "MaxConnections": (OTHERWISE, "The portal works one mailbox with one worker at a time."),
    "AutoUpgrade": (LEFT_OUT, "For the client’s own program."),
    "ProcessingDelay": (LEFT_OUT, "The portal waits until a file stands still, as it is set for all folders."),
    "AuthenticationKey": (OTHERWISE, f"The shared key. {_SET_FOR_ALL}"),
    "ClientLogLevel": (LEFT_OUT, "The portal keeps its own log."),
    "MailboxType": (LEFT_OUT, "All mailboxes of the portal are MESH mailboxes."),
    "CollectReport": (OTHERWISE, _HISTORY),
    "DelayReport": (OTHERWISE, "The portal raises an alert when a message is not collected."),
    "TransferReport": (OTHERWISE, _HISTORY),
    "PollReport": (OTHERWISE, "The mailbox’s page shows the last poll."),
    "SaveSent": (OTHERWISE, "When the portal sends from OUT, it always keeps the pair in SENT."),
}  # fmt: skip


@dataclass(frozen=True)
class Told:
    """One line of the file. ``mailbox_id`` is '' for a general setting; ``value`` is '' for a secret."""

    line: int
    mailbox_id: str
    name: str
    value: str
    kind: str
    sentence: str


def tell(config: Config, environment: str) -> list[Told]:
    """Every setting of ``config``, in the order of the file."""
    told = [_general(setting, config, environment) for setting in config.settings.values()]
    for client in config.clients:
        told += [_of_client(setting, client.mailbox_id) for setting in client.settings.values()]
    return sorted(told, key=lambda one: one.line)


def missing(config: Config) -> Iterator[str]:
    """What the file does not say and the portal assumes."""
    if config.poll_minutes is None:
        yield "The file has no PollPeriod, so each mailbox is polled every 5 minutes."
    for client in config.clients:
        if "ClientAuthentication" not in client.settings:
            yield f"The client {client.mailbox_id} in line {client.line} has no ClientAuthentication: its password must be typed."


def poll_seconds(config: Config) -> int:
    """How often the portal looks: as often as the client, within what MESH allows."""
    return min(max((config.poll_minutes or 0) * 60, MIN_POLL_SECONDS), MAX_POLL_SECONDS)


def environment_of(config: Config) -> str:
    """The environment that the client works in, by the host of its PrimaryURL; '' when that says nothing.

    Hosts: mesh-protocol, Environments; the older ones of the Path to Live end in spine2.ncrs.nhs.uk.
    """
    found = config.settings.get("PrimaryURL")
    host = (_host(found.value) if found else "").lower()
    if re.search(r"\.(national\.ncrs\.nhs\.uk|spineservices\.nhs\.uk)$", host) and host.startswith("mesh-sync."):
        return str(Environment.LIVE)
    if host.endswith(".intspineservices.nhs.uk") or re.fullmatch(r"msg\.int\.spine2\.ncrs\.nhs\.uk", host):
        return str(Environment.INT)
    return ""


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _general(setting: Setting, config: Config, environment: str) -> Told:
    kind, sentence = _SAID.get(setting.name, (UNKNOWN, ""))
    match setting.name:
        case "PrimaryURL":
            host = _host(str(settings.MESH_URLS[environment]))
            kind, sentence = OTHERWISE, f"The portal reaches {Environment(environment).label} at {host}, for all mailboxes."
        case "KeyStorePath":
            kind, sentence = YOURS, f"The keystore is the file that you upload: {places.name_of(setting.value) or 'not named'}."
        case "KeyStorePassword":
            kind, sentence = _secret(setting, "Opens the keystore, unless you type another.", "Type the keystore’s passphrase.")
        case "PollPeriod":
            minutes = poll_seconds(config) // 60
            asked = config.poll_minutes
            why = "" if asked == minutes else " MESH allows from 5 minutes to a day."
            kind, sentence = TAKEN, f"Each mailbox is polled every {minutes} minutes (the number is taken as minutes).{why}"
    return _told(setting, "", kind, sentence)


def _of_client(setting: Setting, mailbox_id: str) -> Told:
    kind, sentence = _SAID.get(setting.name, (UNKNOWN, ""))
    match setting.name:
        case "ClientIdentity":
            kind, sentence = TAKEN, "The mailbox ID."
        case "ClientAuthentication":
            kind, sentence = _secret(setting, "The mailbox’s password, sealed.", "Type the mailbox’s password below.")
        case "InterfaceRoot":
            place = places.find(setting.value)
            kind, sentence = (TAKEN if place.folder else YOURS), place.sentence
        case "MailboxType" if setting.value.upper() not in ("", "MESH"):
            kind, sentence = UNKNOWN, "Only MESH mailboxes are worked by the portal. Is this one?"
    return _told(setting, mailbox_id, kind, sentence)


def _secret(setting: Setting, good: str, typed: str) -> tuple[str, str]:
    if setting.encrypted:
        return YOURS, f"The value looks encrypted, and only the client can read it. {typed}"
    return (TAKEN, good) if setting.value else (YOURS, f"The value is empty. {typed}")


def _told(setting: Setting, mailbox_id: str, kind: str, sentence: str) -> Told:
    if not setting.known:
        kind, sentence = UNKNOWN, "This is not a documented setting here, so it is left out."
    hidden = setting.name in SECRET or not setting.known
    return Told(setting.line, mailbox_id, setting.name, "" if hidden else setting.value[:200], kind, sentence)
