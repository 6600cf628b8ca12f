"""Forks real workers and schedulers quickly: everything is imported once, each child is a process of its own.

Reads one JSON request a line from standard input and answers with one JSON line. When standard input closes, every
child group is killed. It keeps no database connection and no thread of its own, so that a fork is clean.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

_children: set[int] = set()


def _prepare() -> None:
    import django

    django.setup()
    from meshportal.celery import app

    app.loader.import_default_modules()
    # Bound in the parent, so that a child starts in milliseconds.
    import celery.apps.beat
    import celery.apps.worker
    import celery.bin.celery  # noqa: F401
    import redis  # noqa: F401

    import meshportal.mesh  # noqa: F401
    from tests.fleet import addressing, clients, handing, importing, operations, sending  # noqa: F401


def _start(argv: list[str], log: str) -> int:
    pid = os.fork()
    if pid:
        _children.add(pid)
        return pid
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        from meshportal.celery import app

        sys.argv = ["celery", *argv]
        app.start(argv=argv)
    except SystemExit:
        pass
    except BaseException:
        traceback.print_exc()
    os._exit(0)


def _run(name: str, arguments: dict[str, Any]) -> Any:
    """An operation on the database, in a child that ends with it."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 0
        try:
            from tests.fleet import addressing, clients, handing, importing, operations, sending

            modules = (operations, sending, handing, importing, addressing, clients)
            operation = next(getattr(module, name) for module in modules if hasattr(module, name))
            answer = {"result": operation(**arguments)}
        except BaseException:
            answer, status = {"error": traceback.format_exc()}, 1
        with os.fdopen(write_end, "w") as sink:
            json.dump(answer, sink)
        os._exit(status)
    os.close(write_end)
    with os.fdopen(read_end) as source:
        text = source.read()
    os.waitpid(pid, 0)
    return json.loads(text) if text else {"error": f"{name} died"}


def _wait(pid: int) -> int:
    _, status = os.waitpid(pid, 0)
    _children.discard(pid)
    return status


def _end_all() -> None:
    for pid in _children:
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for pid in list(_children):
        os.waitpid(pid, 0)


def main() -> None:
    out = os.fdopen(os.dup(1), "w", buffering=1)
    log = os.open(Path(os.environ["FLEET_LOG"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    _prepare()
    out.write(json.dumps({"result": "ready"}) + "\n")
    try:
        for line in sys.stdin:
            request = json.loads(line)
            match request.pop("do"):
                case "start":
                    answer: Any = {"result": _start(**request)}
                case "wait":
                    answer = {"result": _wait(**request)}
                case name:
                    answer = _run(name, request)
            out.write(json.dumps(answer) + "\n")
    finally:
        _end_all()


if __name__ == "__main__":
    main()
