"""The control of the search: the same secrets written down on purpose, by a process of the portal, wherever it looks."""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
import time
from pathlib import Path

SECONDS = 5.0


def betray(*, key_pem: str, password: str) -> None:
    """Writes both in many forms. Takes some seconds, in which what has no name can be seen."""
    import redis
    from django.conf import settings

    from meshportal.accounts.models import Team

    # Files that are gone before anybody could look.
    with tempfile.TemporaryFile() as nameless:
        nameless.write(key_pem.encode())
    descriptor, name = tempfile.mkstemp()
    os.write(descriptor, password.encode("utf-16-le"))
    os.close(descriptor)
    Path(name).unlink()
    memory = os.memfd_create("betrayed")
    os.write(memory, key_pem.encode())
    os.close(memory)
    # Files that stay.
    (settings.DATA_DIR / "betrayed").write_text(password)
    print(f"a line of a log with {password}", file=sys.stderr, flush=True)
    Team.objects.create(name=f"team {password}", slug="betrayed")
    client = redis.Redis.from_url(settings.REDIS_URL)
    client.set("betrayed", password)
    client.set("betrayed and gone", key_pem)
    client.delete("betrayed and gone")
    with mmap.mmap(-1, 4096) as shared:
        shared.write(password.encode())
        time.sleep(SECONDS)
