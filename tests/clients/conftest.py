"""Configurations of MESH clients, made from the documented settings, and a keystore that goes with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from certificates.reading import Source
from mailboxes.client import bringing
from mailboxes.models import ClientImport
from tests.certificates.conftest import good, making
from tests.certificates.making import Making, Pair
from tests.receive.conftest import ACTOR

__all__ = ["ACTOR", "good", "making"]

PASSWORD = "PLANTED-mailbox"
STORE = "PLANTED-store"
GENERAL = {
    "PrimaryURL": "https://mesh.example.nhs.uk",
    "LogPath": r"C:\MESH-APP-HOME\log",
    "KeyStorePath": r"C:\MESH-APP-HOME\KEYSTORE\mesh.keystore",
    "KeyStorePassword": STORE,
    "WorkPath": r"C:\MESH-APP-HOME\working",
    "ProxyPath": r"C:\MESH-APP-HOME\proxy",
    "SignalPath": r"C:\MESH-APP-HOME\sig",
    "PollPeriod": "30",
    "ServerRetry": "3",
    "MaxMessages": "100",
    "MaxConnections": "4",
    "AutoUpgrade": "Y",
}


def client(mailbox_id: str = "X26CL001", **more: str | None) -> dict[str, str | None]:
    """One client; None leaves a setting out."""
    settings: dict[str, str | None] = {
        "ClientIdentity": mailbox_id,
        "ClientAuthentication": PASSWORD,
        "InterfaceRoot": rf"D:\MESH-DATA-HOME\{mailbox_id}",
        "ClientLogLevel": "INFO",
        "CollectReport": "Y",
        "DelayReport": "N",
        "TransferReport": "N",
        "PollReport": "N",
        "SaveSent": "Y",
    }
    return {**settings, **more}


def cfg(*clients: dict[str, str | None], **general: str | None) -> bytes:
    """A file with one setting in a line, as the client's installer writes it."""
    lines = ["<MESHConfig>"]
    lines += [f"  <{name}>{value}</{name}>" for name, value in {**GENERAL, **general}.items() if value is not None]
    for one in clients or (client(),):
        lines += ["  <Client>", *(f"    <{name}>{value}</{name}>" for name, value in one.items() if value is not None)]
        lines.append("  </Client>")
    return "\n".join([*lines, "</MESHConfig>\n"]).encode()


@pytest.fixture(scope="session")
def keystore(making: Making, good: Pair) -> bytes:
    """A PKCS #12 file of the client's."""
    return making.pkcs12(good, passphrase=STORE)


@pytest.fixture
def share(tmp_path: Path, settings: Any) -> Path:
    """The root of all folders, with those of one mailbox."""
    settings.FOLDER_ROOT = tmp_path / "share"
    for name in ("IN", "OUT", "SENT", "FAILED"):
        (tmp_path / "share" / "MESH-DATA-HOME" / "X26CL001" / name).mkdir(parents=True)
    return tmp_path / "share"


Bring = Callable[..., ClientImport]


@pytest.fixture
def bring(team: Any, keystore: bytes) -> Bring:
    """What is kept of a client's files."""

    def made(data: bytes | None = None, *, team: Any = team, **more: Any) -> ClientImport:
        given = {"environment": "sandbox", "keystore": Source("the file mesh.keystore", keystore), "ods_code": "X26", **more}
        return bringing.prepare(actor=ACTOR, team=team, given=bringing.Given(data=data or cfg(), **given))

    return made
