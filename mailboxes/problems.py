"""What went wrong, in sentences: what happened, what it means, what to do. Never "an error occurred"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from meshportal.mesh import errors

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_LONDON = ZoneInfo("Europe/London")
# MESH API specification, MESH Authorization header: the clock may differ by two hours.
TOKEN_WINDOW = timedelta(hours=2)


def london(moment: datetime) -> str:
    """A moment as staff read it, such as "24 Nov 2026, 14:05 GMT"."""
    local = moment.astimezone(_LONDON)
    return f"{local.day} {local:%b %Y, %H:%M %Z}"


@dataclass(frozen=True)
class Problem:
    """A code for filters and tests, one sentence that says what is wrong, one that says what to do."""

    code: str
    sentence: str
    advice: str


class NotConfigured(Exception):
    """The portal lacks something it needs before it can call MESH for this mailbox."""

    def __init__(self, code: str, sentence: str, advice: str) -> None:
        super().__init__(sentence)
        self.problem = Problem(code, sentence, advice)


_ASK_DESK = "If it stays so, ring the National Service Desk on 0300 303 5035."
_WAIT = f"The portal tries again by itself. {_ASK_DESK}"
_CERTIFICATE_ADVICE = (
    "Check that this mailbox's certificate belongs to this environment, has not expired or been revoked, and was issued "
    "by the current NHS authority."
)

# The most particular class first: the first that fits is taken.
_CONNECTION: tuple[tuple[type[errors.MeshError], str, str, str], ...] = (
    (
        errors.HostUnknown,
        "host_unknown",
        "The address of MESH ({host}) could not be found on the network.",
        "Check this server's DNS, and the address that is set for this environment.",
    ),
    (
        errors.ConnectionRefused,
        "connection_refused",
        "Nothing answers at the address of MESH ({host}).",
        "Check the address that is set for this environment and this server's firewall. " + _WAIT,
    ),
    (
        errors.ConnectTimeout,
        "connect_timeout",
        "MESH ({host}) did not take the connection in time.",
        "Check this server's firewall and proxy. " + _WAIT,
    ),
    (
        errors.ServerNotTrusted,
        "server_not_trusted",
        "The server at {host} shows a certificate that the trust bundle does not vouch for, so nothing was sent to it.",
        "Check that the trust bundle is the one for this environment and holds the current NHS authorities.",
    ),
    (
        errors.HostNameMismatch,
        "host_name_mismatch",
        "The server at {host} shows a certificate for another name, so nothing was sent to it.",
        "Check the address that is set for this environment.",
    ),
    (
        errors.ClientCertificateRefused,
        "certificate_refused",
        "MESH refused this mailbox's client certificate.",
        _CERTIFICATE_ADVICE,
    ),
    (
        errors.CertificateUnusable,
        "certificate_unusable",
        "This mailbox's client certificate cannot be used: {error}",
        "Add the certificate again, together with the key that it was requested with.",
    ),
    (
        errors.ResponseTimeout,
        "timeout",
        "MESH took the request but did not answer in time.",
        _WAIT,
    ),
    (
        errors.ConnectionLost,
        "connection_lost",
        "The connection to MESH broke off before an answer came.",
        _WAIT,
    ),
    (
        errors.ConnectionFailed,
        "connection_failed",
        "The connection to MESH ({host}) could not be made.",
        _WAIT,
    ),
    (
        errors.Throttled,
        "throttled",
        "MESH asked the portal to slow down.",
        "Nothing to do: the portal waits and tries again.",
    ),
    (
        errors.Unavailable,
        "unavailable",
        "MESH says that it is unavailable ({status}).",
        _WAIT,
    ),
    (
        errors.ServerError,
        "server_error",
        "MESH answered with an internal error ({status}).",
        _WAIT,
    ),
    (
        errors.UnexpectedAnswer,
        "unexpected_answer",
        "What answered at {host} does not speak the MESH protocol: a proxy, a firewall page or a wrong address.",
        "Open the address from this server to see what answers, and check the proxy and the address that is set.",
    ),
    (
        errors.BadRequest,
        "bad_request",
        "MESH says that the request is not valid: {description}",
        "Check this mailbox's ID and workflow filter. " + _ASK_DESK,
    ),
    (
        errors.NotFound,
        "not_found",
        "MESH says that there is no such thing: {description}",
        "Check this mailbox's ID and the address that is set for this environment.",
    ),
)

_BODY: tuple[tuple[type[errors.MeshError], str, str, str], ...] = (
    (
        errors.BodyTooLarge,
        "too_large",
        "The message is larger than the portal is set to accept.",
        "Ask whoever runs the portal to raise MESHPORTAL_MAX_MESSAGE_MB, then retry.",
    ),
    (
        errors.BodyTooSlow,
        "too_slow",
        "The message came so slowly that the download was given up, so that other mailboxes are not kept waiting.",
        _WAIT,
    ),
    (
        errors.BodyTruncated,
        "truncated",
        "The message came cut short, so it was not kept and not acknowledged.",
        "The portal tries again. If it stays so, ask the sender to send the message again.",
    ),
    (
        errors.ChunkMismatch,
        "chunk_mismatch",
        "The chunks of the message do not fit together: {error}",
        "Ask the sender to send the message again.",
    ),
    (
        errors.BodyCorrupt,
        "corrupt",
        "The message is compressed in a way that cannot be read, so it was not kept and not acknowledged.",
        "Ask the sender to send the message again, then acknowledge this one without keeping it.",
    ),
)


def explain(error: errors.MeshError, *, host: str = "", clock_skew: timedelta | None = None, signed_in: bool = False) -> Problem:
    """The problem of a mailbox or message that ``error`` shows.

    ``clock_skew`` is our clock minus MESH's. ``signed_in``: MESH accepted this certificate a moment ago, so a dropped
    connection says nothing about it.
    """
    if isinstance(error, errors.AuthenticationFailed):
        return _refused(error, clock_skew)
    if isinstance(error, errors.ConnectionLost) and error.maybe_certificate and not signed_in:
        return Problem(
            "connection_dropped",
            "MESH dropped the connection without an answer. That is often how a client certificate is refused.",
            _CERTIFICATE_ADVICE,
        )
    for kind, code, sentence, advice in (*_BODY, *_CONNECTION):
        if isinstance(error, kind):
            facts = {
                "host": host,
                "status": error.status,
                "description": _plain(error.description or "no reason given"),
                "error": _plain(str(error)),
            }
            return Problem(code, sentence.format(**facts), advice)
    return Problem("mesh_error", f"MESH answered in a way that the portal did not expect: {_plain(str(error))}", _ASK_DESK)


def _plain(text: str, limit: int = 300) -> str:
    """Somebody else's words on one line, without what no database column takes (NUL, halves of surrogate pairs)."""
    return _CONTROL.sub(" ", text).encode("utf-8", "replace").decode()[:limit]


def _refused(error: errors.AuthenticationFailed, clock_skew: timedelta | None) -> Problem:
    said = f" MESH said: “{_plain(error.description, 200)}”." if error.description else ""
    if clock_skew is not None and abs(clock_skew) > TOKEN_WINDOW:
        hours = abs(clock_skew).total_seconds() / 3600
        way = "ahead of" if clock_skew > timedelta(0) else "behind"
        return Problem(
            "clock_wrong",
            f"This server's clock is {hours:.1f} hours {way} the clock of MESH, which refuses sign-ins more than 2 hours off."
            + said,
            "Set this server's clock (NTP), then poll again.",
        )
    if error.code == "EPL-151" or "no mailbox matched" in error.description.lower():
        return Problem(
            "mailbox_unknown",
            "MESH knows no mailbox with this ID in this environment." + said,
            "Check the mailbox ID, and that it belongs to this environment. Each environment has mailboxes of its own.",
        )
    if "inactive" in error.description.lower():
        return Problem(
            "mailbox_inactive",
            "MESH says that this mailbox is not active." + said,
            "Ring the National Service Desk on 0300 303 5035 to have it made active again.",
        )
    return Problem(
        "sign_in_refused",
        "MESH refused the sign-in of this mailbox: its password, or the shared key of this environment, is wrong." + said,
        "Check the mailbox's password first. If every mailbox of this environment is refused, check the shared key.",
    )


STORAGE = Problem(
    "storage",
    "The portal could not write the message to its storage, so it was not acknowledged.",
    "Ask whoever runs the portal to check free disk space and the storage settings. Nothing is lost: MESH keeps the message.",
)
INTERNAL = Problem(
    "internal",
    "The portal itself failed on this message. The message was not acknowledged.",
    "Ask whoever runs the portal to look in the log for this message ID.",
)
UNREADABLE_SECRET = Problem(
    "secret_unreadable",
    "The stored password or key of this mailbox cannot be opened with the portal's keys.",
    "Ask whoever runs the portal to put the missing key back into MESHPORTAL_KEYS, or enter the password and certificate again.",
)
