"""What the doctor says of a finding, where :func:`mailboxes.problems.explain` knows less than the doctor does."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import timedelta

from django.utils import timezone

from certificates.models import ClientIdentity
from mailboxes.doctor.wire import Handshake, name_of
from mailboxes.models import Mailbox
from mailboxes.problems import Problem, explain, london
from meshportal.mesh import errors

SLOW = "Ask your network team about the line to MESH: a proxy or a firewall that looks into it, or a full line. Polls still work."
SET_CLOCK = "Ask whoever runs the portal to set this server’s clock (NTP), then check again."
NOT_ASKED = Problem(
    "certificate_not_asked",
    "The server did not ask for a client certificate, which MESH always does.",
    "Check that the address is MESH’s own. A proxy that ends TLS on the way does this too.",
)
_PROXY = (
    "Ask your network team to let this server reach {host} directly, or through a gateway that passes TLS on untouched. The "
    "portal uses no proxy of its own accord."
)
# X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED, _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH of OpenSSL.
_NOT_YET, _EXPIRED, _NAMES = 9, 10, (62, 64)
_SILENT = "Ask your network team to let this server reach {host}: a firewall swallows what is sent rather than refusing it."


def other_environment(mailbox: Mailbox, identity: ClientIdentity) -> Problem:
    """The certificate is of another environment than the mailbox."""
    return Problem(
        "certificate_of_another_environment",
        f"The client certificate “{identity.name}” belongs to {identity.get_environment_display()}, and this mailbox to "
        f"{mailbox.get_environment_display()}.",
        "Choose a certificate of this mailbox’s environment.",
    )


def bundle_unusable(error: errors.MeshError) -> Problem:
    """The trust bundle makes no TLS context."""
    return Problem(
        "trust_bundle_unusable",
        f"The trust bundle of this environment cannot be used: {error}",
        "Ask whoever runs the portal to import the CA bundle again.",
    )


def dns_silent(host: str) -> Problem:
    """The name service said nothing."""
    return Problem(
        "dns_silent",
        f"The name service did not answer when it was asked for {host}.",
        "Ask your network team to check this server’s DNS settings and that it may ask the name service.",
    )


def unreachable(error: errors.ConnectionFailed, host: str) -> Problem:
    """No connection: refused and swallowed are told apart, since different people mend them."""
    if isinstance(error, errors.ConnectTimeout):
        return Problem(
            "connect_timeout",
            f"{host} does not answer at all: neither yes nor no came back. That is how a firewall drops a connection.",
            _SILENT.format(host=host),
        )
    if isinstance(error, errors.ConnectionRefused):
        return Problem(
            "connection_refused",
            f"The connection to {host} is refused: nothing listens there, or a firewall turns it away.",
            "Check the address and port that are set for this environment, then this server’s firewall.",
        )
    return explain(error, host=host)


def of_server(seen: Handshake, host: str) -> Problem | None:
    """What is wrong with the server's side of TLS; None when it is in order."""
    if seen.agreed:
        return None
    if isinstance(seen.error, ssl.SSLCertVerificationError):
        return _not_trusted(seen, seen.error, host)
    if seen.spoke_http:
        return proxy(seen.http_status, host)
    if seen.old_version or "PROTOCOL_VERSION" in seen.reason:
        what = f"only {seen.old_version}" if seen.old_version else "no version of TLS that is new enough"
        return Problem(
            "tls_too_old",
            f"The server at {host} speaks {what}. The portal and MESH use TLS 1.2 or newer.",
            "Check the address: MESH itself does not do this. Something old stands in between, such as a proxy that opens TLS.",
        )
    if seen.chain:
        # Its certificate passed; what follows concerns ours.
        return None
    if not seen.first:
        if isinstance(seen.error, TimeoutError):
            return Problem(
                "tls_silent",
                f"{host} took the connection and then said nothing.",
                _SILENT.format(host=host),
            )
        return Problem(
            "tls_cut",
            f"{host} took the connection and hung up as soon as TLS began.",
            "Ask your network team whether a firewall stops TLS to this address. " + _PROXY.format(host=host),
        )
    if not seen.spoke_tls:
        return Problem(
            "not_tls",
            f"What answers at {host} does not speak TLS, so it is not MESH.",
            "Check the address and port that are set for this environment.",
        )
    why = f" ({seen.reason})" if seen.reason else ""
    return Problem(
        "tls_failed",
        f"The portal and {host} could not agree on TLS{why}.",
        "Check the address. If it is right, send this report to the National Service Desk.",
    )


def _not_trusted(seen: Handshake, error: ssl.SSLCertVerificationError, host: str) -> Problem:
    if error.verify_code in _NAMES:
        return explain(errors.HostNameMismatch(), host=host)
    leaf = seen.chain[0] if seen.chain else None
    now = timezone.now()
    ended = next((one for one in seen.chain if one.not_valid_after_utc < now), None)
    if error.verify_code == _EXPIRED:
        when = f" on {london(ended.not_valid_after_utc)}" if ended else ""
        return Problem(
            "server_certificate_expired",
            f"The certificate of the server at {host} expired{when}, so nothing was sent to it.",
            "Check this server’s clock. If it is right, tell the National Service Desk, or whoever runs what answers there.",
        )
    if error.verify_code == _NOT_YET:
        return Problem(
            "server_certificate_not_yet_valid",
            f"The certificate of the server at {host} is not valid yet, so nothing was sent to it.",
            SET_CLOCK,
        )
    by = f", issued by “{name_of(leaf.issuer)}”," if leaf else ""
    return Problem(
        "server_not_trusted",
        f"The server at {host} shows a certificate{by} that the trust bundle of this environment does not vouch for. Nothing was "
        "sent to it.",
        "Check that the trust bundle is the one for this environment and holds the current NHS authorities. An issuer that is "
        "not the NHS means that a proxy opens TLS on the way.",
    )


def of_certificate(seen: Handshake, identity: ClientIdentity) -> Problem | None:
    """How the server refused our certificate during TLS; None when it did not."""
    if seen.error is None:
        return None
    reason = seen.reason
    for part, code, sentence, advice in _ALERTS:
        if part in reason:
            return Problem(code, sentence.format(name=identity.name, issuer=identity.issuer), advice)
    if isinstance(seen.error, TimeoutError):
        return Problem("tls_silent", "MESH fell silent when it was shown the certificate.", "Check again in a few minutes.")
    return explain(errors.ConnectionLost(maybe_certificate=True))


_ASK_NEW = "Check that it was issued for this environment by the current NHS authority. If so, ring the National Service Desk."
_ALERTS = (
    (
        "CERTIFICATE_EXPIRED",
        "certificate_expired",
        "MESH refused the client certificate “{name}”: it has expired.",
        "Request a new certificate, add it, and choose it for every mailbox that used the old one.",
    ),
    (
        "UNKNOWN_CA",
        "certificate_wrong_ca",
        "MESH refused the client certificate “{name}”: it does not know the authority that issued it ({issuer}).",
        "Use a certificate that was issued for this environment. One of another environment is refused so.",
    ),
    (
        "CERTIFICATE_REVOKED",
        "certificate_revoked",
        "MESH refused the client certificate “{name}”: it was revoked.",
        "Request a new certificate, add it, and choose it for every mailbox that used the old one.",
    ),
    (
        "CERTIFICATE_REQUIRED",
        "certificate_missing",
        "MESH says that it got no client certificate, although “{name}” was offered.",
        "Ask your network team whether a proxy opens TLS on the way: it cannot pass the certificate on.",
    ),
    (
        "DECRYPT_ERROR",
        "certificate_wrong_key",
        "MESH refused the client certificate “{name}”: what was signed with its key does not fit it.",
        "Add the certificate again, together with the key that it was requested with.",
    ),
    ("ALERT", "certificate_refused", "MESH refused the client certificate “{name}”.", _ASK_NEW),
)


def proxy(status: int | None, host: str) -> Problem:
    """Something that is not MESH answered, in HTTP."""
    if status == 407:
        return Problem(
            "proxy_password",
            "A proxy on the way asks for a password (407). It is not MESH that answers.",
            _PROXY.format(host=host),
        )
    return Problem(
        "proxy_page",
        f"A web page answers at {host}, not MESH: a proxy, a firewall’s page or a wrong address.",
        _PROXY.format(host=host) + " Check the address that is set for this environment, too.",
    )


def of_answer(error: errors.MeshError, host: str) -> Problem | None:
    """Answers that are not MESH's, or that do not come; None for those that ``explain`` tells well."""
    if isinstance(error, errors.UnexpectedAnswer):
        return proxy(error.status, host)
    if isinstance(error, errors.ResponseTimeout):
        return Problem(
            "timeout",
            "MESH took the request but did not answer in the time that the check waits.",
            "Check again in a few minutes. If it stays so, ask your network team about the line, and then ring the National "
            "Service Desk on 0300 303 5035.",
        )
    return None


def password_or_key(mailbox: Mailbox, problem: Problem) -> Problem:
    """MESH says the same for a wrong password and a wrong shared key; how other mailboxes of the environment fare tells more."""
    since = timezone.now() - timedelta(hours=24)
    others = Mailbox.objects.filter(environment=mailbox.environment).exclude(pk=mailbox.pk).order_by()
    refused = others.filter(problem_code="sign_in_refused")
    began = refused.order_by("-problem_since").values_list("problem_since", flat=True).first()
    well = others.filter(problem_code="", last_polled_at__gt=max(since, began or since))
    said = problem.sentence.partition(" MESH said: ")
    quoted = f" MESH said: {said[2]}" if said[1] else ""
    if well.exists():
        return Problem(
            "password_wrong",
            "The password of this mailbox is wrong: other mailboxes of this environment sign in with the same shared key."
            + quoted,
            "Enter the password from the second of the two e-mails again, in this mailbox's settings, or have it reset.",
        )
    if refused.exists():
        return Problem(
            "shared_key_wrong",
            "The shared key of this environment is wrong: MESH refuses every mailbox that was tried with it." + quoted,
            f"Ask whoever runs the portal to check MESHPORTAL_{mailbox.environment.upper()}_SHARED_KEY and restart it.",
        )
    return Problem(
        "sign_in_refused",
        "The password of this mailbox or the shared key of this environment is wrong. MESH says the same for both, and no other "
        "mailbox of this environment was tried." + quoted,
        f"Check the password first, then the shared key (MESHPORTAL_{mailbox.environment.upper()}_SHARED_KEY).",
    )


def answers_elsewhere(ods_code: str, workflows: Sequence[str]) -> Problem:
    """MESH names other mailboxes, or none, for our own organisation."""
    named = " and ".join(workflows)
    return Problem(
        "lookup_elsewhere",
        f"Asked for {ods_code}, MESH does not name this mailbox for {named}. Senders who ask are led elsewhere, or nowhere.",
        "Check whether the workflow moved to another system. If this mailbox is to receive it, ask the National Service Desk to "
        "register it.",
    )
