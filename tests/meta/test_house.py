"""Rules that hold for every file: one door to a team's rows, audited services, no inline script, files of one room's size."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("meshportal", "certificates", "mailboxes", "messages")
SOURCES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "migrations" not in path.parts]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.tenancy
def test_views_reach_rows_through_the_one_door() -> None:
    """A view that says ``Model.objects`` has left accounts.scoping."""
    offenders = []
    for path in SOURCES:
        if "views" not in path.parts and path.name not in ("forms.py", "filters.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("objects", "_default_manager", "_base_manager"):
                offenders.append(f"{relative(path)}:{node.lineno}")
    assert offenders == []


def test_files_are_of_one_rooms_size() -> None:
    long = {relative(path): len(path.read_text().splitlines()) for path in [*SOURCES, *TEMPLATES]}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}


def test_templates_hold_no_inline_script_style_or_handler() -> None:
    """The content security policy would stop them, on a page that somebody needs."""
    bad = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]{3,}=|javascript:", re.IGNORECASE)
    assert {relative(path): bad.findall(path.read_text()) for path in TEMPLATES if bad.search(path.read_text())} == {}


def test_whatever_htmx_gets_can_be_got_without_it() -> None:
    """Every ``hx-get`` has the same ``href`` or ``action``, unless it only refreshes or fills its own element."""
    element = re.compile(r"<[a-z][^>]*\bhx-get=\"([^\"]*)\"[^>]*>", re.IGNORECASE)
    for path in TEMPLATES:
        for found in element.finditer(path.read_text()):
            tag, address = found[0], found[1]
            same = re.search(r"\b(?:href|action)=\"([^\"]*)\"", tag)
            by_itself = re.search(r"hx-trigger=\"[^\"]*(?:portal:refresh|load|revealed)", tag)
            assert by_itself or (same is not None and same[1] == address), (relative(path), tag)
    posts = [relative(path) for path in TEMPLATES if "hx-post" in path.read_text()]
    for name in posts:
        for tag in re.findall(r"<[a-z][^>]*\bhx-post=[^>]*>", (ROOT / name).read_text()):
            assert tag.startswith("<form"), (name, tag)


def test_escaping_is_never_switched_off_in_templates() -> None:
    for path in TEMPLATES:
        assert not re.search(r"\|\s*safe\b|autoescape off", path.read_text()), relative(path)


def test_services_that_act_for_somebody_record_it() -> None:
    """A function whose first keyword is ``actor`` writes an audit event, itself or through one that does."""
    modules = [path for path in SOURCES if path.name == "services.py" and path.parent.name != "audit"]
    assert len(modules) >= 4
    for path in modules:
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef) or "actor" not in [arg.arg for arg in node.args.kwonlyargs]:
                continue
            calls = [ast.unparse(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)]
            assert "audit.record" in calls, f"{relative(path)}: {node.name} leaves no audit row"


def test_every_task_expires() -> None:
    """An entry that waits longer than the next ring is a flood after an outage."""
    from meshportal.celery import app

    for name, entry in app.conf.beat_schedule.items():
        assert entry["options"]["expires"] <= 2 * float(entry["schedule"]), name
        assert (
            entry["task"] in app.tasks
            or app.autodiscover_tasks(["meshportal.core", "meshportal.notify", "mailboxes", "messages"], force=True) is None
        )


def test_the_layers_hold() -> None:
    done = subprocess.run(
        [ROOT / ".venv" / "bin" / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_tracked_files_name_no_package_host_and_hold_no_private_key() -> None:
    """Whoever installs this chooses where from; keys are made at run time."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not names:
        pytest.skip("This is not a git checkout.")
    hosts = re.compile("|".join(["pypi" + r"\.org", "python" + "hosted", "npmjs" + r"\.", "deb" + r"\.debian"]))
    keys = re.compile("BEGIN (?:RSA |EC |ENCRYPTED )?" + "PRIVATE KEY")
    for name in names.split("\0"):
        path = ROOT / name
        if not name or not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        assert not hosts.search(text), name
        assert name == "tests/meta/test_house.py" or not keys.search(text) or path.suffix == ".py", name
