"""Encrypted payload storage: durable, whole or absent, bounded, never in clear."""

from __future__ import annotations

import hashlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest

from meshportal.core import payloads
from meshportal.core.storage import DurableFileSystemStorage


def everything_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def folder(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    storage = DurableFileSystemStorage(location=str(tmp_path))
    monkeypatch.setattr(payloads, "storage", lambda: storage)
    return tmp_path


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1_000_000])
def test_what_is_written_is_read_back(folder: Path, size: int) -> None:
    body = bytes(index % 251 for index in range(size))
    kept = payloads.write("a/b.age", [body[:10], b"", body[10:]])
    assert (kept.size, kept.sha256) == (size, hashlib.sha256(body).hexdigest())
    assert b"".join(payloads.open_blocks(kept.key)) == body


def test_nothing_on_disk_is_in_clear(folder: Path) -> None:
    payloads.write("a.age", [b"PLANTED-PATIENT-NAME" * 1000])
    assert everything_under(folder)
    assert not any(b"PLANTED" in path.read_bytes() for path in everything_under(folder))


def test_an_error_of_the_source_comes_out_and_keeps_nothing(folder: Path) -> None:
    def cut_short() -> Iterator[bytes]:
        yield b"half of it"
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        payloads.write("a.age", cut_short())
    assert everything_under(folder) == []
    assert not payloads.exists("a.age")


def test_a_second_write_replaces_the_first_in_one_step(folder: Path) -> None:
    payloads.write("a.age", [b"first"])
    payloads.write("a.age", [b"second"])
    assert b"".join(payloads.open_blocks("a.age")) == b"second"
    assert len(everything_under(folder)) == 1


def test_a_failed_rename_leaves_the_old_file_and_no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payloads.write("a.age", [b"first"])

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(payloads.StorageFailed, match="No space"):
        payloads.write("a.age", [b"second"])
    assert b"".join(payloads.open_blocks("a.age")) == b"first"
    assert len(everything_under(folder)) == 1


def test_a_damaged_file_is_never_taken_for_the_message(folder: Path) -> None:
    payloads.write("a.age", [b"x" * 200_000])
    path = folder / "a.age"
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[: len(whole) // 2], whole[:-20] + bytes(20), b"", b"not age"):
        path.write_bytes(damaged)
        with pytest.raises(payloads.PayloadUnreadable):
            list(payloads.open_blocks("a.age"))


def test_an_absent_file_says_so(folder: Path) -> None:
    with pytest.raises(payloads.PayloadMissing):
        payloads.open_blocks("nothing.age")


def test_the_second_identity_still_reads_what_it_wrote(folder: Path, settings: Any) -> None:
    payloads.write("a.age", [b"kept"])
    settings.MESHPORTAL_PAYLOAD_KEYS = [str(pyrage.x25519.Identity.generate()), *settings.MESHPORTAL_PAYLOAD_KEYS]
    assert b"".join(payloads.open_blocks("a.age")) == b"kept"
    settings.MESHPORTAL_PAYLOAD_KEYS = settings.MESHPORTAL_PAYLOAD_KEYS[:1]
    with pytest.raises(payloads.PayloadUnreadable):
        list(payloads.open_blocks("a.age"))


def test_reading_only_the_head_of_a_large_payload_stops_there(folder: Path) -> None:
    block = b"0123456789abcdef" * 4096
    payloads.write("big.age", (block for _ in range(800)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    head, more = payloads.read_all("big.age", limit=100)
    assert (head, more) == (block[:100], True)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mb < 30


def test_a_key_cannot_leave_the_folder(folder: Path) -> None:
    with pytest.raises(payloads.StorageFailed, match="SuspiciousFileOperation"):
        payloads.write("../outside.age", [b"x"])
    assert not (folder.parent / "outside.age").exists()


@pytest.mark.parametrize("where", ["scratch", "storage"])
def test_a_full_disk_is_told_from_a_broken_download(folder: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    class Full:
        def __init__(self, *_args: Any, **_kwargs: Any) -> None: ...

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_error: object) -> None: ...

        def write(self, _block: bytes) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None: ...

    if where == "scratch":
        monkeypatch.setattr("meshportal.core.payloads.tempfile.TemporaryFile", Full)
    else:
        monkeypatch.setattr(DurableFileSystemStorage, "_save", lambda *_: Full().write(b""))
    with pytest.raises(payloads.StorageFailed, match="No space left"):
        payloads.write("a.age", [b"x" * 1_000_000])
    assert everything_under(folder) == []
