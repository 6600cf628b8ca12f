"""What every fleet needs: a Redis of its own, so that no other test's tasks reach its workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshportal.demo.redis_server import RedisServer


@pytest.fixture
def redis(tmp_path: Path, need: Any) -> Iterator[RedisServer]:
    need("redis")
    with RedisServer(tmp_path / "redis") as server:
        yield server
