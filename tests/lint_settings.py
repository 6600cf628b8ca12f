"""The portal's settings with made-up secrets, for tools that only read the code (the type checker's Django plugin)."""

from __future__ import annotations

import os

os.environ.setdefault("SECRET_KEY", "only for reading the code")
os.environ.setdefault("MESHPORTAL_KEYS", "only for reading the code")
os.environ.setdefault("MESHPORTAL_PAYLOAD_KEYS", "only for reading the code")

from meshportal.settings import *  # noqa: F403  the environment must be there first
