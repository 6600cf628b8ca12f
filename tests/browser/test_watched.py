"""The reader of responses finds what was planted, wherever it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.watched import MARK, Watched


@pytest.mark.parametrize(
    ("headers", "pieces", "found"),
    [
        ([], [b"nothing"], 0),
        ([], [b"<input value='planted-one'>"], 1),
        ([], [b"a plan", b"ted-o", b"ne"], 1),
        ([("Location", "/?x=planted-two")], [], 1),
        ([], [b"planted-one and ", b"planted-two"], 2),
    ],
)
def test_what_was_planted_is_found(tmp_path: Path, headers: list[tuple[str, str]], pieces: list[bytes], found: int) -> None:
    (tmp_path / "planted").write_text("planted-one\nplanted-two\n")
    said: list[Any] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", headers)
        return pieces

    watched = Watched(application, tmp_path / "planted", tmp_path / "leaks")
    answer = watched({"REQUEST_METHOD": "GET", "PATH_INFO": "/x/"}, lambda *given: said.append(given))
    assert list(answer) == pieces
    assert said[0][1] == [*headers, (MARK, "1")]
    leaks = (tmp_path / "leaks").read_text().splitlines() if (tmp_path / "leaks").exists() else []
    assert len(set(leaks)) == found
