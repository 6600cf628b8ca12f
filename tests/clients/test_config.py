"""meshclient.cfg in all its variants: right, or refused with the line."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from mailboxes.client import config, places, telling
from tests.clients.conftest import PASSWORD, STORE, cfg, client


def told(data: bytes, name: str, environment: str = "sandbox") -> telling.Told:
    return next(one for one in telling.tell(config.parse(data), environment) if one.name == name)


def test_one_client() -> None:
    read = config.parse(cfg())
    assert [one.mailbox_id for one in read.clients] == ["X26CL001"]
    assert read.clients[0].password == PASSWORD
    assert read.passphrase == STORE
    assert read.poll_minutes == 30
    assert telling.poll_seconds(read) == 1800
    assert read.clients[0].value("CollectReport") == "Y"
    assert all(setting.known for setting in read.settings.values())


def test_many_clients_each_with_its_own() -> None:
    read = config.parse(cfg(*(client(f"X26CL{number:03d}", ClientAuthentication=f"p{number}") for number in range(200))))
    assert len(read.clients) == 200
    assert [one.password for one in read.clients] == [f"p{number}" for number in range(200)]
    assert read.clients[1].line == read.clients[0].line + len(client()) + 2


def test_every_documented_setting_is_said_something_of_and_no_secret_is_told() -> None:
    data = cfg(client(MailboxType="MESH"), AuthenticationKey="PLANTED-key", ProcessingDelay="1")
    lines = telling.tell(config.parse(data), "sandbox")
    assert {one.name for one in lines} == (config.GENERAL | config.OF_CLIENT)
    assert all(one.sentence and one.kind in telling.KINDS and one.kind != telling.UNKNOWN for one in lines)
    assert [one.line for one in lines] == sorted(one.line for one in lines)
    assert "PLANTED" not in repr(lines) + repr(config.parse(data).settings)
    texts = data.decode().splitlines()
    assert all(f"<{one.name}>" in texts[one.line - 1] for one in lines)


@pytest.mark.parametrize("text", ["nothing", "Y", "C:\\x"])
def test_an_unknown_setting_is_told_with_its_line_and_left_out(text: str) -> None:
    data = cfg(client(NewThing=text), Fancy=text)
    for name in ("NewThing", "Fancy"):
        line = told(data, name)
        assert line.kind == telling.UNKNOWN and line.value == ""
        assert f"<{name}>" in data.decode().splitlines()[line.line - 1]


def test_an_unknown_setting_may_hold_others() -> None:
    data = cfg().replace(b"<MESHConfig>", b"<MESHConfig>\n<Odd>\n<Client><ClientIdentity>X</ClientIdentity></Client></Odd>")
    assert told(data, "Odd").line == 2
    assert len(config.parse(data).clients) == 1


@pytest.mark.parametrize(
    "value",
    ["ENC(c2VjcmV0)", "{AES}abcdef", "{enc}x", "encrypted:abc", "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA="],
)
def test_an_encrypted_value_is_never_used_and_said_to_be_typed(value: str) -> None:
    data = cfg(client(ClientAuthentication=value), KeyStorePassword=value)
    read = config.parse(data)
    assert (read.clients[0].password, read.passphrase) == ("", "")
    for name in ("ClientAuthentication", "KeyStorePassword"):
        line = told(data, name)
        assert line.kind == telling.YOURS and "looks encrypted" in line.sentence and value not in repr(line)


def test_an_attribute_says_that_it_is_encrypted_too() -> None:
    data = cfg().replace(b"<ClientAuthentication>", b'<ClientAuthentication encrypted="true">')
    assert config.parse(data).clients[0].password == ""


@pytest.mark.parametrize("value", ["password", "PLANTED-äß£ word", "QUJDREVGR0hJSktMTU5PUFFS"])
def test_a_plain_password_is_one(value: str) -> None:
    assert config.parse(cfg(client(ClientAuthentication=value))).clients[0].password == value


HEAD = b"<MESHConfig>\n<Client>\n"
REFUSED: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 1, "not well-formed"),
    "no XML": (b"PrimaryURL=https://x\n", 1, "not well-formed"),
    "cut": (cfg()[:-30], len(cfg()[:-30].splitlines()), "not well-formed"),
    "a tag that nobody closed": (HEAD + b"<ClientIdentity>X26\n</Client></MESHConfig>", 4, "not well-formed"),
    "an ampersand in a path": (cfg(LogPath="C:\\a & b"), 3, "not well-formed"),
    "two documents": (cfg() + cfg(), len(cfg().splitlines()) + 1, "not well-formed"),
    "another document": (b"<DTSControl/>", 1, "begins with the element MESHConfig"),
    "the old DTS client": (b"\n<DTSClient></DTSClient>", 2, "begins with the element MESHConfig"),
    "no client": (b"<MESHConfig></MESHConfig>", 0, "no Client"),
    "no mailbox ID": (cfg(client(ClientIdentity=None)), 14, "no ClientIdentity"),
    "no such mailbox ID": (cfg(client("X26 / 1")), 15, "no mailbox ID"),
    "a mailbox twice": (cfg(client(), client("x26cl001")), 25, "same ClientIdentity as that in line 14"),
    "a setting twice": (cfg().replace(b"<LogPath>", b"<WorkPath/><LogPath>"), 6, "second time: first in line 3"),
    "a client in a client": (HEAD + b"<Client></Client></Client></MESHConfig>", 3, "within another one"),
    "an element in a value": (HEAD + b"<InterfaceRoot>C:\n<b>x</b></InterfaceRoot></Client></MESHConfig>", 4, "another element"),
    "a switch that is none": (cfg(client(SaveSent="maybe")), 23, "SaveSent is neither Y nor N"),
    "a period that is none": (cfg(PollPeriod="often"), 9, "PollPeriod is no number"),
    "text outside": (HEAD + b"X26</Client></MESHConfig>", 3, "outside of any setting"),
    "a long value": (cfg(LogPath="x" * 1001), 3, "longer than 1000"),
    "too many clients": (cfg(*(client(f"X{number}") for number in range(501))), 14 + 500 * 11, "more than 500 clients"),
    "an encoding": (b'<?xml version="1.0" encoding="utf-7"?>' + cfg(), 1, "encoding"),
    "external entity": (b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + cfg(LogPath="&e;"), 1, "DOCTYPE"),
    "parameter entity": (b'\n<!DOCTYPE x [<!ENTITY % e SYSTEM "http://127.0.0.1:9/x"> %e;]>' + cfg(), 2, "DOCTYPE"),
    "external document type": (b'<!DOCTYPE MESHConfig SYSTEM "http://127.0.0.1:9/x.dtd">' + cfg(), 1, "DOCTYPE"),
    "deep": (HEAD + b"<a>" * 20000, 3, "another element"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_line(case: str) -> None:
    data, line, words = REFUSED[case]
    with pytest.raises(config.ConfigError) as refused:
        config.parse(data)
    assert words in str(refused.value)
    assert refused.value.line == line
    assert "PLANTED" not in str(refused.value)


def test_bombs_are_refused_at_once() -> None:
    laughs = b'<!DOCTYPE lolz [<!ENTITY a "lol">' + b"".join(
        f'<!ENTITY {chr(98 + number)} "{f"&{chr(97 + number)};" * 10}">'.encode() for number in range(10)
    )
    began = time.monotonic()
    for bomb in (laughs + b"]>" + cfg(LogPath="&k;"), b"<MESHConfig>" + b"<a/>" * 13_000_000, cfg() + b" " * 50_000_000):
        with pytest.raises(config.ConfigError):
            config.parse(bomb)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("url", "environment"),
    [
        ("https://mesh-sync.national.ncrs.nhs.uk", "live"),
        ("https://mesh-sync.spineservices.nhs.uk", "live"),
        ("https://msg.intspineservices.nhs.uk", "int"),
        ("https://msg.int.spine2.ncrs.nhs.uk/messageexchange", "int"),
        ("https://mesh.example", ""),
        ("https://[", ""),
        ("", ""),
    ],
)
def test_the_environment_that_the_address_says(url: str, environment: str) -> None:
    assert telling.environment_of(config.parse(cfg(PrimaryURL=url))) == environment


@pytest.mark.parametrize(("period", "seconds"), [("1", 300), ("5", 300), ("60", 3600), ("99999", 86_400), (None, 300), ("", 300)])
def test_the_poll_period_is_kept_within_what_mesh_allows(period: str | None, seconds: int) -> None:
    assert telling.poll_seconds(config.parse(cfg(PollPeriod=period))) == seconds


@pytest.mark.parametrize("end", ["X26CL001", "MESH-DATA-HOME/X26CL001"])
def test_a_windows_path_is_found_by_its_end(share: Path, end: str) -> None:
    for path in (r"D:\MESH-DATA-HOME\X26CL001", r"\\server\mesh\MESH-DATA-HOME\X26CL001", "d:/MESH-DATA-HOME/X26CL001/"):
        assert places.find(path).folder == "MESH-DATA-HOME/X26CL001"
    assert places.name_of(r"C:\K\mesh.keystore") == places.name_of("/opt/k/mesh.keystore") == "mesh.keystore"


def test_a_linux_path_below_the_root_and_elsewhere(share: Path, settings: Any) -> None:
    found = places.find(str(share / "MESH-DATA-HOME" / "X26CL001"))
    assert found.folder == "MESH-DATA-HOME/X26CL001" and "confirm" not in found.sentence
    assert places.find("/usr/local/MESH-DATA-HOME/X26CL001").folder == "MESH-DATA-HOME/X26CL001"
    for path in ("/usr/local/elsewhere", f"{share}/../share", "..", r"C:\..\..\x", "/", "C:\\", str(share), "x" * 900):
        found = places.find(path)
        assert found.folder == "" and "MESHPORTAL_FOLDER_ROOT" in found.sentence, path
    settings.FOLDER_ROOT = None
    assert places.find("/a/b").folder == ""


def test_a_link_out_of_the_root_is_not_offered(share: Path, tmp_path: Path) -> None:
    for name in ("IN", "OUT"):
        (tmp_path / "outside" / name).mkdir(parents=True)
    (share / "linked").symlink_to(tmp_path / "outside")
    assert places.find(r"D:\linked").folder == ""
