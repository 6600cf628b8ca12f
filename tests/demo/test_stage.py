"""The demonstration's folder: private, kept, and held by one at a time."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from meshportal.demo.__main__ import main
from meshportal.demo.sending import Register
from meshportal.demo.stage import DemoError, Stage, adopt


def test_keys_are_made_once_and_are_private(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "demo")
    stage.prepare()
    names = sorted(path.name for path in stage.secrets.iterdir())
    assert names == ["keys", "password", "payload-keys", "secret-key", "shared-key"]
    before = {name: stage.secret(name) for name in names}
    assert len(set(before.values())) == len(names)
    stage.prepare()
    assert {name: stage.secret(name) for name in names} == before
    for path in [*stage.secrets.iterdir(), stage.folder, stage.data, stage.logs, stage.secrets]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_the_settings_name_keys_by_file(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.prepare()
    environment = stage.environment(redis_url="redis://127.0.0.1:1/0", sandbox_url="https://localhost:1")
    assert "DATABASE_URL" not in environment
    for path in stage.secrets.iterdir():
        assert path.read_text() not in environment.values()
    given = stage.environment(redis_url="", sandbox_url="", database_url="postgresql://127.0.0.1/demo")
    assert given["DATABASE_URL"] == "postgresql://127.0.0.1/demo"


def test_the_shells_own_settings_are_put_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = dict(os.environ)
    try:
        monkeypatch.setenv("SECRET_KEY", "of a real portal")
        monkeypatch.setenv("MESHPORTAL_KEYS", "of a real portal")
        adopt({"MESHPORTAL_SECURE": "0"})
        assert "of a real portal" not in os.environ.values()
        assert os.environ["PATH"] == kept["PATH"]
    finally:
        os.environ.clear()
        os.environ.update(kept)


def test_two_demonstrations_do_not_share_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(tmp_path)
    with stage.owned() as note:
        note("process 1 at http://localhost:8000/")
        with pytest.raises(DemoError, match="process 1 at http://localhost:8000/"), stage.owned():
            pass
    with stage.owned():
        pass


def test_a_taken_port_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--folder", str(tmp_path), "--port", str(port)]) == 1
    assert f"Port {port} is taken by another program." in capsys.readouterr().err


def test_a_register_survives_and_a_damaged_one_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "sent.json"
    register = Register.read(path)
    register.note("letter-1", "ABC")
    assert Register.read(path).ids == {"letter-1": "ABC"}
    for damaged in ("", "[1, 2]", '{"letter-1": "A'):
        path.write_text(damaged)
        assert Register.read(path).ids == {}
