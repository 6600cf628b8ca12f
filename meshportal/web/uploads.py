"""One file of a form, streamed to whoever keeps it: never whole in memory, and never in clear on disk.

Django's own upload handlers keep a large file in a temporary one, which for a letter is a copy in clear (promise P11), and
read it before anything is known of who sends it. Here a page class checks who asks, then :func:`receive` reads.

Django, File uploads, "Modifying upload handlers on the fly": the request's cross-site check reads the form, so the view is
exempt from the check of the middleware and makes it itself, with its own handler in place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import Empty, Full, Queue
from typing import Any, Generic, TypeVar

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.core.files.uploadhandler import FileUploadHandler, SkipFile, StopUpload
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.views.decorators.csrf import csrf_protect

Kept = TypeVar("Kept")
# Some 64 KB each: what the disk may lag behind the line.
_BLOCKS_AHEAD = 16
_WAIT = 0.5
# Beyond the file itself: the form's other fields and the borders between them.
_FORM_BYTES = 1024 * 1024
# Seconds without a byte after which whoever sends is given up: a closed laptop says nothing, and holds a thread.
SILENCE = 60.0
# In this process, out of the eight threads that the README names: pages are served besides.
AT_ONCE = 4
_places = threading.BoundedSemaphore(AT_ONCE)
# What Django's parser raises for forms that no browser writes; the email package, which reads the headers, the last ones.
_UNREADABLE = (MultiPartParserError, SuspiciousOperation, BadRequest, ValueError, TypeError, LookupError, AttributeError)


class UploadCut(Exception):
    """The upload ended before the file did: nothing is kept."""


class NoFile(Exception):
    """The form came without a file."""


class Unreadable(Exception):
    """The request is no form that can be read."""


class TooMany(Exception):
    """Too many files come in at this moment."""


class TooLarge(Exception):
    """The request says that it is larger than what is allowed."""


class Refusal(Exception):
    """The cross-site check refused the request; ``response`` is what to answer."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__("The cross-site check refused the request.")
        self.response = response


def receive(
    request: HttpRequest,
    *,
    field: str,
    limit: int,
    keep: Callable[[Iterator[bytes]], Kept],
    undo: Callable[[Kept], None],
) -> tuple[Kept, str]:
    """Reads the multipart form of ``request`` and hands the file of ``field``, of at most ``limit`` bytes, to ``keep``.

    ``keep`` runs in a thread of its own, beside the reading, and must leave nothing behind when the blocks raise; ``undo``
    is called where the request turns out to be refused or broken after it. Gives what ``keep`` returned, and the name of the
    file as the browser said it. Raises what ``keep`` raised, UploadCut, NoFile, Unreadable and Refusal; TooLarge and TooMany
    before anything is read.
    """
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        raise Unreadable from None
    if length > limit + _FORM_BYTES:
        raise TooLarge
    if not _places.acquire(blocking=False):
        raise TooMany
    try:
        return _receive(request, _Handler(field, keep), undo)
    finally:
        _places.release()


def _receive(request: HttpRequest, handler: _Handler[Kept], undo: Callable[[Kept], None]) -> tuple[Kept, str]:
    _make_ready(request)
    request.upload_handlers = [handler]
    try:
        answer = _read(request)
        # What could not be kept is not read to its end, and the check may miss what stands there.
        if answer.status_code == _PASSED or handler.failed:
            return handler.result(), str(handler.file_name or "")
        # The check takes a form that broke off for one without its token.
        raise UploadCut if handler.cut else Refusal(answer)
    except BaseException as error:
        handler.give_up()
        for kept in handler.outcome:
            undo(kept)
        if error is handler.error:
            raise
        if isinstance(error, OSError):
            raise UploadCut from error
        if isinstance(error, _UNREADABLE):
            raise Unreadable from error
        raise


def _make_ready(request: HttpRequest) -> None:
    """For what may take hours: no connection to the database is held, nor one found dead behind it, and silence ends it."""
    if not connection.in_atomic_block:
        connection.close()
    line = request.META.get("gunicorn.socket")
    if line is not None:
        line.settimeout(SILENCE)


_PASSED = 204


@csrf_protect
def _read(request: HttpRequest) -> HttpResponse:
    _ = request.POST
    return HttpResponse(status=_PASSED)


class _Handler(FileUploadHandler, Generic[Kept]):
    """Passes the blocks of one file through a short queue to the thread that keeps them."""

    def __init__(self, field: str, keep: Callable[[Iterator[bytes]], Kept]) -> None:
        super().__init__()
        self._field = field
        self._keep = keep
        self._blocks: Queue[bytes | None] = Queue(_BLOCKS_AHEAD)
        self._cut = threading.Event()
        self._complete = False
        self._thread: threading.Thread | None = None
        self.outcome: list[Kept] = []
        self.error: BaseException | None = None

    def new_file(self, field_name: str, *args: Any, **kwargs: Any) -> None:
        if field_name != self._field or self._thread is not None:
            raise SkipFile
        super().new_file(field_name, *args, **kwargs)
        self._thread = threading.Thread(target=self._run, name="upload", daemon=True)
        self._thread.start()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._put(raw_data)

    def file_complete(self, file_size: int) -> None:
        # Django calls it at the border behind the file: one that was cut has none.
        if not self._complete and self._thread is not None:
            self._complete = True
            self._put(None)

    @property
    def failed(self) -> bool:
        """Whether ``keep`` raised."""
        return self.error is not None

    @property
    def cut(self) -> bool:
        """Whether a file began and did not end."""
        return self._thread is not None and not self._complete

    def result(self) -> Kept:
        """What ``keep`` returned. Raises what it raised, UploadCut, NoFile."""
        if self._thread is None:
            raise NoFile
        if not self._complete:
            self._cut.set()
        self._thread.join()
        if self.error is not None:
            raise self.error
        return self.outcome[0]

    def give_up(self) -> None:
        """Has ``keep`` stop, where it still runs."""
        self._cut.set()
        if self._thread is not None:
            self._thread.join()

    def _put(self, block: bytes | None) -> None:
        thread = self._thread
        while thread is not None and thread.is_alive():
            try:
                self._blocks.put(block, timeout=_WAIT)
            except Full:
                continue
            return
        # Nobody reads any more: the rest of the file need not be sent either.
        raise StopUpload(connection_reset=True)

    def _come(self) -> Iterator[bytes]:
        while True:
            try:
                block = self._blocks.get(timeout=_WAIT)
            except Empty:
                if self._cut.is_set():
                    raise UploadCut from None
                continue
            if block is None:
                return
            if self._cut.is_set():
                raise UploadCut
            yield block

    def _run(self) -> None:
        try:
            self.outcome.append(self._keep(self._come()))
        except BaseException as error:
            self.error = error
