"""CSV that opens safely in a spreadsheet, streamed row by row. :mod:`meshportal.core.csvin` reads it back."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence

from django.http import StreamingHttpResponse

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def safe(value: object) -> str:
    """The cell's text; text that a spreadsheet would run as a formula gets an apostrophe in front."""
    text = "" if value is None else str(value)
    return f"'{text}" if _guarded(text) else text


def plain(cell: str) -> str:
    """The text that :func:`safe` made ``cell`` of."""
    return cell[1:] if cell.startswith("'") and _guarded(cell) else cell


def _guarded(text: str) -> bool:
    # Text that has apostrophes before its formula by itself gets one more: otherwise nobody could tell it from one of ours.
    bare = text.lstrip("'")
    return bare.lstrip(" ").startswith(_FORMULA) or bare.startswith(_FORMULA)


class _Echo:
    def write(self, value: str) -> str:
        return value


def lines(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The file, line by line, with a byte order mark so that Excel reads it as UTF-8."""
    writer = csv.writer(_Echo())
    yield "\ufeff" + writer.writerow(header)
    for row in rows:
        yield writer.writerow([safe(cell) for cell in row])


def response(filename: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> StreamingHttpResponse:
    """The file as a download."""
    answer = StreamingHttpResponse(lines(header, rows), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{filename}"'
    return answer
