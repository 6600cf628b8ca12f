"""Acts that begin in the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from django.db import connections as databases


def together(*acts: Callable[[], Any]) -> list[Any]:
    """What came of acts that begin in the same moment, each in a thread of its own."""
    start, found = threading.Barrier(len(acts)), []

    def run(act: Callable[[], Any]) -> None:
        try:
            start.wait(timeout=10)
            found.append(act())
        except Exception as error:
            found.append(error)
        finally:
            databases.close_all()

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return found
