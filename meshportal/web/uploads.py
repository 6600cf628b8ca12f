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

from django.core.files.uploadhandler import FileUploadHandler, SkipFile, StopUpload
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.views.decorators.csrf import csrf_protect

Kept = TypeVar("Kept")
# Some 64 KB each: what the disk may lag behind the line.
_BLOCKS_AHEAD = 16
_WAIT = 0.5
# Beyond the file itself: the form's other fields and the borders between them.
_FORM_BYTES = 1024 * 1024


class UploadCut(Exception):
    """The upload ended before the file did: nothing is kept."""


class NoFile(Exception):
    """The form came without a file."""


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
    is called where the request turns out to be refused after it. Gives what ``keep`` returned, and the name of the file as
    the browser said it. Raises what ``keep`` raised, UploadCut, NoFile, TooLarge (before anything is read) and Refusal.
    """
    if int(request.META.get("CONTENT_LENGTH") or 0) > limit + _FORM_BYTES:
        raise TooLarge
    handler = _Handler(field, keep)
    request.upload_handlers = [handler]
    try:
        answer = _read(request)
        # What could not be kept is not read to its end, and the check may miss what stands there.
        if answer.status_code == _PASSED or handler.failed:
            return handler.result(), str(handler.file_name or "")
    except (OSError, MultiPartParserError) as error:
        raise UploadCut from error
    finally:
        handler.give_up()
    for kept in handler.outcome:
        undo(kept)
    raise Refusal(answer)


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
        self._error: BaseException | None = None

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
        return self._error is not None

    def result(self) -> Kept:
        """What ``keep`` returned. Raises what it raised, UploadCut, NoFile."""
        if self._thread is None:
            raise NoFile
        if not self._complete:
            self._cut.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
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
            self._error = error
