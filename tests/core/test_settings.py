"""Settings from the environment: typed, loud when wrong, secrets also from files; system checks for what fails at night."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from meshportal import env
from meshportal.core import checks
from tests import environment

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("value", "meant"), [("1", True), ("TRUE", True), ("on", True), ("0", False), ("No", False), ("", True)])
def test_a_switch(monkeypatch: pytest.MonkeyPatch, value: str, meant: bool) -> None:
    monkeypatch.setenv("SWITCH", value)
    assert env.boolean("SWITCH", default=True) is meant


def test_nonsense_is_named_and_never_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCH", "maybe")
    with pytest.raises(ImproperlyConfigured, match="SWITCH must be one of"):
        env.boolean("SWITCH", default=False)
    for value, said in (("ten", "whole number"), ("0", "between 1 and 5"), ("6", "between 1 and 5")):
        monkeypatch.setenv("NUMBER", value)
        with pytest.raises(ImproperlyConfigured, match=f"NUMBER must be .*{said}"):
            env.integer("NUMBER", 3, minimum=1, maximum=5)


def test_a_secret_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    held = tmp_path / "secret"
    held.write_text("from a file\n")
    monkeypatch.setenv("THING_FILE", str(held))
    assert env.secret("THING") == "from a file"
    monkeypatch.setenv("THING", "from the environment")
    with pytest.raises(ImproperlyConfigured, match="not both"):
        env.secret("THING")
    monkeypatch.delenv("THING")
    held.write_text("\n")
    with pytest.raises(ImproperlyConfigured, match="is empty"):
        env.secret("THING")
    held.unlink()
    with pytest.raises(ImproperlyConfigured, match="cannot be read"):
        env.secret("THING")
    monkeypatch.delenv("THING_FILE")
    with pytest.raises(ImproperlyConfigured, match="must be set"):
        env.secret("THING")


def test_a_list_of_secrets_by_commas_or_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYS", "one, two\nthree,")
    assert env.secrets("KEYS") == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY"),
        ({"DATABASE_URL": "mysql://x/y"}, "DATABASE_URL must name PostgreSQL"),
        ({"REDIS_URL": "http://x"}, "REDIS_URL must begin with"),
        ({"MESHPORTAL_LIVE_URL": "http://mesh.example"}, "MESHPORTAL_LIVE_URL must begin with https"),
        ({"MESHPORTAL_POLL_THREADS": "0"}, "MESHPORTAL_POLL_THREADS must be between"),
        ({"MESHPORTAL_KEYS": "not-a-key"}, "MESHPORTAL_KEYS"),
        ({"MESHPORTAL_PAYLOAD_KEYS": "not-a-key"}, "MESHPORTAL_PAYLOAD_KEYS"),
        ({"MESHPORTAL_DATA_DIR": "/proc/nowhere"}, "MESHPORTAL_DATA_DIR"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_stops_the_start_with_a_sentence(changed: dict[str, str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={**os.environ, **changed},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert said in done.stderr
    # The value of a secret is never repeated.
    assert "not-a-key" not in done.stderr


def test_production_checks_speak_of_what_is_missing(settings: Any) -> None:
    settings.MESH_SHARED_KEYS = dict.fromkeys(settings.MESH_SHARED_KEYS, "")
    assert [found.id for found in checks.shared_keys_are_given()] == ["meshportal.W004"]
    settings.MESH_SHARED_KEYS = {"live": "key"}
    assert checks.shared_keys_are_given() == []
    expected = ["meshportal.W005"] if environment.database_kind() == "sqlite" else []
    assert [found.id for found in checks.database_suits_production()] == expected
