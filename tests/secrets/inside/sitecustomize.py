"""Python runs this first in every process of the portal under test: each file that is opened for writing is handed to the test.

The test gets a descriptor of its own before the program writes a byte, so it can read what a file held that was removed at
once, and what a memory file held that has no name at all. The program waits until the test has it.
"""

from __future__ import annotations

import builtins
import io
import os
import socket
from typing import Any

SEEN_BY = "TEST_FILES_SEEN_BY"
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_open, _os_open, _memfd_create = builtins.open, os.open, os.memfd_create


def _hand_over(descriptor: int, name: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(os.environ[SEEN_BY])
        socket.send_fds(line, [name.encode(errors="replace")[:1000] or b"?"], [descriptor])
        # Closed by the test when it has the descriptor.
        line.recv(1)


def _seen_open(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
    opened = _open(file, mode, *args, **kwargs)
    if not isinstance(file, int) and set(mode) & set("wax+"):
        _hand_over(opened.fileno(), os.fsdecode(file))
    return opened


def _seen_os_open(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
    descriptor = _os_open(path, flags, *args, **kwargs)
    if flags & _WRITING:
        _hand_over(descriptor, os.fsdecode(path))
    return descriptor


def _seen_memfd_create(name: str, flags: int = os.MFD_CLOEXEC) -> int:
    descriptor = _memfd_create(name, flags)
    _hand_over(descriptor, f"memfd:{name}")
    return descriptor


if SEEN_BY in os.environ:
    builtins.open = _seen_open
    io.open = _seen_open
    os.open = _seen_os_open
    os.memfd_create = _seen_memfd_create
