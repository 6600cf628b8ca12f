"""The name that a downloaded body is given on somebody's computer."""

from __future__ import annotations

import re

from messages.models import Message
from messages.visible import without_hidden

_LONGEST = 150
_NOT_IN_NAMES = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_-]")
# Windows opens these as devices, whatever the extension.
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)", re.IGNORECASE)


def file_name(message: Message) -> str:
    """The sender's file name without path, control and format characters; ``<message ID>.dat`` when nothing is left."""
    last = re.split(r"[\\/]", message.file_name)[-1]
    name = _NOT_IN_NAMES.sub("_", without_hidden(last)).strip(" .")
    if not any(character.isalnum() for character in name):
        return f"{_NOT_IN_IDS.sub('_', message.mesh_id)[:100] or 'message'}.dat"
    stem, dot, extension = name.rpartition(".")
    if len(name) > _LONGEST:
        name = f"{stem[: _LONGEST - len(extension) - 1]}.{extension}" if dot and len(extension) <= 10 else name[:_LONGEST]
    return f"_{name}" if _DEVICES.match(name) else name
