"""The portal as gunicorn serves it to the browser tests, with every response read for what was planted.

``BROWSER_PLANTED`` names a file with one planted text a line, which tests may add to; ``BROWSER_LEAKS`` one that gets a
line for each response that holds one of them. Nothing that people typed as a password may ever come back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

MARK = "X-Read-For-Secrets"


class Watched:
    """A WSGI application that reads headers and bodies of another one as they go out, across the borders of pieces."""

    def __init__(self, application: Callable[..., Iterable[bytes]], planted: Path, leaks: Path) -> None:
        self._application = application
        self._planted = planted
        self._leaks = leaks

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        wanted = [line.encode() for line in self._planted.read_text().splitlines() if line]
        where = f"{environ.get('REQUEST_METHOD')} {environ.get('PATH_INFO')}"

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            self._look(wanted, repr(headers).encode(), f"{where} (headers)")
            return start_response(status, [*headers, (MARK, "1")], exc_info)

        # Without the server's short cut for files, which would not be read here.
        given = {name: value for name, value in environ.items() if name != "wsgi.file_wrapper"}
        return self._read(self._application(given, start), wanted, where)

    def _read(self, pieces: Iterable[bytes], wanted: list[bytes], where: str) -> Iterator[bytes]:
        longest = max((len(one) for one in wanted), default=1)
        before = b""
        try:
            for piece in pieces:
                self._look(wanted, before + piece, where)
                before = (before + piece)[-longest:]
                yield piece
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    def _look(self, wanted: list[bytes], text: bytes, where: str) -> None:
        for number, one in enumerate(wanted):
            if one in text:
                with self._leaks.open("a") as file:
                    file.write(f"planted text {number} in the answer to {where}\n")


if "BROWSER_PLANTED" in os.environ:
    from django.core.wsgi import get_wsgi_application

    application = Watched(get_wsgi_application(), Path(os.environ["BROWSER_PLANTED"]), Path(os.environ["BROWSER_LEAKS"]))
