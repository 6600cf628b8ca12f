"""E-mail: plain text, and the same as HTML, by the mail server of the settings."""

from __future__ import annotations

import smtplib
from collections.abc import Mapping
from email.utils import parseaddr
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.template.loader import render_to_string

from meshportal.notify.transports.failure import Failed

_SENTENCES: tuple[tuple[type[Exception], str], ...] = (
    (smtplib.SMTPAuthenticationError, "The mail server refused the portal’s sign-in."),
    (smtplib.SMTPSenderRefused, "The mail server does not take mail from the portal’s address."),
    (smtplib.SMTPServerDisconnected, "The mail server broke the connection."),
    (TimeoutError, "The mail server did not answer in time."),
    (ConnectionRefusedError, "Nothing answers at the address of the mail server."),
)


def send(config: Mapping[str, Any], content: Mapping[str, Any], key: str) -> None:
    """One mail to all addresses of the channel. Its Message-ID is the same at every try."""
    if not settings.EMAIL_HOST:
        raise Failed("No mail server is set. Ask whoever runs the portal to set MESHPORTAL_EMAIL_HOST.")
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    message = EmailMultiAlternatives(
        subject=f"[meshportal] {content['title']}"[:200],
        body=render_to_string("notify/mail.txt", {"content": content}),
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=list(config["to"]),
        headers={"Message-ID": f"<{key}@{domain}>", "Auto-Submitted": "auto-generated"},
        connection=get_connection(timeout=settings.NOTIFY_TIMEOUT),
    )
    message.attach_alternative(render_to_string("notify/mail.html", {"content": content}), "text/html")
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as error:
        for_good = all(code >= 500 for code, _said in error.recipients.values())
        raise Failed("The mail server refused every address of this channel.", for_good=for_good) from None
    except (smtplib.SMTPDataError, smtplib.SMTPHeloError) as error:
        raise Failed(f"The mail server refused the mail ({error.smtp_code}).", for_good=error.smtp_code >= 500) from None
    except (smtplib.SMTPException, OSError) as error:
        said = next((sentence for kind, sentence in _SENTENCES if isinstance(error, kind)), "The mail could not be handed over.")
        raise Failed(said) from None
