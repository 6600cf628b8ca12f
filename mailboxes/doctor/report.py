"""The report for the service desk: plain text, and the same as data. No secret, no subject, no body."""

from __future__ import annotations

import platform
import ssl
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings

from mailboxes.doctor.results import Result, verdict
from mailboxes.models import Mailbox
from meshportal.mesh.connection import VERSION
from meshportal.web.time import london


def as_text(mailbox: Mailbox, results: Sequence[Result], *, began: datetime) -> str:
    """The report as it is pasted into a ticket."""
    lines = [
        f"MESH connection check of mailbox {mailbox.mailbox_id}",
        f"Environment: {mailbox.get_environment_display()}, {_host(mailbox)}",
        f"Organisation: {mailbox.organisation.ods_code}",
        f"Begun: {_utc(began)} ({london(began, seconds=True)})",
        f"Versions: {_versions()}",
        "",
        verdict(results)[1],
    ]
    for number, result in enumerate(results, start=1):
        took = f" ({result.took})" if result.took else ""
        lines += ["", f"{number}. {result.name}: {result.word}{took}", *_wrapped(result.found)]
        if result.remedy:
            lines += _wrapped(f"What to do: {result.remedy}")
        for label, text in result.facts:
            lines += _wrapped(f"- {label}: {text}", "     ")
    return "\n".join(lines) + "\n"


def as_json(mailbox: Mailbox, results: Sequence[Result], *, began: datetime) -> dict[str, Any]:
    """The same for machines."""
    state, sentence = verdict(results)
    return {
        "mailbox": mailbox.mailbox_id,
        "environment": mailbox.environment,
        "address": _host(mailbox),
        "began": began.astimezone(UTC).isoformat(timespec="seconds"),
        "versions": _versions(),
        "verdict": str(state),
        "sentence": sentence,
        "steps": [
            {
                "step": one.step,
                "name": one.name,
                "state": str(one.state),
                "code": one.code,
                "found": one.found,
                "remedy": one.remedy,
                "facts": [{"label": label, "text": text} for label, text in one.facts],
                "seconds": None if one.seconds is None else round(one.seconds, 3),
            }
            for one in results
        ],
    }


def _host(mailbox: Mailbox) -> str:
    return urlsplit(settings.MESH_URLS[mailbox.environment]).netloc


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _versions() -> str:
    system = f"{platform.system()} {platform.machine()}"
    return (
        f"meshportal {VERSION}, Python {platform.python_version()}, {ssl.OPENSSL_VERSION}, Django {django.__version__}, {system}"
    )


def _wrapped(text: str, indent: str = "   ") -> list[str]:
    return textwrap.wrap(text, 96, initial_indent="   ", subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
