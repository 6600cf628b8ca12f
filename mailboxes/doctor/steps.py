"""The steps of an examination, in their order. Each gives one result; the first that fails ends it."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.db import connection as database
from django.utils import timezone

from certificates.life import certificate_life
from certificates.models import ClientIdentity, TrustBundle
from mailboxes import connections, services
from mailboxes.doctor import told, wire
from mailboxes.doctor.results import Result, State
from mailboxes.models import Mailbox, Mode
from mailboxes.problems import TOKEN_WINDOW, UNREADABLE_SECRET, NotConfigured, Problem, explain, london
from meshportal.core.crypto import CannotUnseal
from meshportal.mesh import Connection, MeshClient, errors
from meshportal.web.time import span_words

log = structlog.get_logger("mailboxes.doctor")

# Seconds that one step below HTTP may take; those of HTTP have the patience of a person who waits.
STEP_SECONDS = 5.0
# From here on a step counts as slow.
SLOW_SECONDS = 2.0
_LOOKUP_SECONDS = 15.0
_TOKEN = re.compile(r"NHSMESH\s+\S+", re.IGNORECASE)

STEPS: dict[str, str] = {
    "settings": "Settings of this mailbox",
    "dns": "Address of MESH (DNS)",
    "network": "Network connection (TCP)",
    "tls": "Encryption and MESH’s certificate (TLS)",
    "certificate": "This mailbox’s client certificate",
    "answer": "Answer of MESH",
    "clock": "Clock",
    "sign_in": "Sign-in",
    "handshake": "Handshake",
    "inbox": "Inbox",
    "lookup": "Address lookup",
}


def examine(mailbox: Mailbox, *, workflows: Sequence[str] = ()) -> Iterator[Result]:
    """Every step's result as soon as it ends; a step that fails lets the rest be skipped.

    ``workflows`` are those that MESH is asked about. No database connection is held while something is waited for.
    """
    examination = _Examination(mailbox, workflows)
    stopped = ""
    try:
        for step, name in STEPS.items():
            if stopped:
                found = f"“{stopped}” failed, so this could not be checked."
                yield Result(step=step, name=name, state=State.SKIPPED, found=found, code="skipped")
                continue
            result = examination.take(step)
            if result.state == State.BAD:
                stopped = name
            yield result
    finally:
        examination.close()


class _Examination:
    """What one step leaves for the next."""

    def __init__(self, mailbox: Mailbox, workflows: Sequence[str]) -> None:
        self.mailbox = mailbox
        self.workflows = workflows
        self.url = urlsplit(settings.MESH_URLS[mailbox.environment])
        self.host, self.port = self.url.hostname or "", self.url.port or 443
        self.identity: ClientIdentity
        self.bundle: TrustBundle
        self.client: MeshClient
        self.connection: Connection | None = None
        self.addresses: list[wire.Address] = []
        self.socket: socket.socket | None = None
        self.handshake = wire.Handshake()
        self.error: errors.MeshError | None = None
        self.seconds = 0.0
        self._secrets: list[str] = []

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
        if self.connection is not None:
            self.connection.close()

    def take(self, step: str) -> Result:
        """One step. What the portal itself gets wrong is a result too: the page is half sent already."""
        act: Callable[[], Result] = getattr(self, f"_{step}")
        try:
            return act()
        except Exception:
            log.exception("step of the doctor failed", step=step, mailbox_id=self.mailbox.mailbox_id)
            found = "The portal itself failed at this step."
            return self._result(step, State.BAD, found, "Ask whoever runs the portal to look in the log.", code="internal")
        finally:
            let_go()

    def _result(
        self,
        step: str,
        state: State,
        found: str,
        remedy: str = "",
        *,
        code: str = "",
        facts: Sequence[tuple[str, str]] = (),
        seconds: float | None = None,
    ) -> Result:
        return Result(
            step=step, name=STEPS[step], state=state, found=found, remedy=remedy, code=code, facts=tuple(facts), seconds=seconds
        )

    def _problem(self, step: str, problem: Problem, *, state: State = State.BAD, **more: object) -> Result:
        return self._result(step, state, problem.sentence, problem.advice, code=problem.code, **more)  # type: ignore[arg-type]

    def _passed(self, step: str, found: str, *, facts: Sequence[tuple[str, str]] = (), seconds: float | None = None) -> Result:
        """Good, or slow."""
        if seconds is None or seconds < SLOW_SECONDS:
            return self._result(step, State.GOOD, found, code="good", facts=facts, seconds=seconds)
        slow = f"{found} It took {seconds:.1f} seconds, which is slow."
        return self._result(step, State.WARN, slow, told.SLOW, code="slow", facts=facts, seconds=seconds)

    def _clean(self, text: str, limit: int = 200) -> str:
        """Somebody else's words, without what may be secret: a server can quote what it was sent."""
        for secret in self._secrets:
            text = text.replace(secret, "[hidden]")
        return errors.safe_text(_TOKEN.sub("[hidden]", text), limit)

    def _explain(self, error: errors.MeshError) -> Problem:
        error.description = self._clean(error.description)
        return explain(error, host=self.url.netloc, clock_skew=self.client.clock_skew, signed_in=True)

    # --- What the portal holds --------------------------------------------------------------------------------------------
    def _settings(self) -> Result:
        try:
            mailbox = Mailbox.objects.select_related("identity", "organisation", "team").get(pk=self.mailbox.pk)
            identity, shared_key = connections.needed(mailbox)
            if identity.environment != mailbox.environment:
                return self._problem("settings", told.other_environment(mailbox, identity))
            self.identity, self.bundle = identity, connections.bundle_for(identity)
            self.connection = connections.fresh(identity, self.bundle, somebody_waits=True)
        except NotConfigured as error:
            return self._problem("settings", error.problem)
        except CannotUnseal:
            return self._problem("settings", UNREADABLE_SECRET)
        except errors.TrustBundleUnusable as error:
            return self._problem("settings", told.bundle_unusable(error))
        except errors.CertificateUnusable as error:
            return self._problem("settings", explain(error))
        self._secrets = [secret for secret in (mailbox.password, shared_key) if secret]
        self.mailbox = mailbox
        self.client = MeshClient(self.connection, mailbox_id=mailbox.mailbox_id, password=mailbox.password, shared_key=shared_key)
        facts = [
            ("Environment", mailbox.get_environment_display()),
            ("Address", self.url.netloc),
            ("Client certificate", f"{identity.name}: {identity.subject_cn}"),
            ("Trust bundle", f"{self.bundle.name}, SHA-256 {self.bundle.fingerprint[:16]}…"),
        ]
        life = certificate_life(identity, timezone.now())
        if life.tone != "quiet":
            found = f"All that is needed is there. The client certificate has {life.words}."
            return self._result("settings", State.WARN, found, life.advice, code="certificate_ends", facts=facts)
        found = "Password, shared key, client certificate and trust bundle are there and belong to this environment."
        return self._passed("settings", found, facts=facts)

    # --- The way to MESH --------------------------------------------------------------------------------------------------
    def _dns(self) -> Result:
        begun = time.monotonic()
        try:
            self.addresses = wire.resolve(self.host, self.port, seconds=STEP_SECONDS)
        except errors.ConnectTimeout:
            return self._problem("dns", told.dns_silent(self.host), seconds=time.monotonic() - begun)
        except errors.HostUnknown as error:
            return self._problem("dns", explain(error, host=self.host), seconds=time.monotonic() - begun)
        facts = [("Addresses", ", ".join(str(address[0]) for _, address in self.addresses[:6]))]
        return self._passed("dns", f"The name {self.host} is known.", facts=facts, seconds=time.monotonic() - begun)

    def _network(self) -> Result:
        begun = time.monotonic()
        try:
            self.socket = wire.connect(self.addresses, seconds=min(STEP_SECONDS, settings.MESH_CONNECT_TIMEOUT))
        except errors.ConnectionFailed as error:
            problem = told.unreachable(error, self.url.netloc)
            return self._problem("network", problem, seconds=time.monotonic() - begun)
        address = self.socket.getpeername()[0]
        found = f"Something listens at {address}, port {self.port}."
        return self._passed("network", found, seconds=time.monotonic() - begun)

    def _tls(self) -> Result:
        begun = time.monotonic()
        assert self.socket is not None  # noqa: S101  the step before made it
        context = connections.context_for(self.identity, self.bundle)
        seen = self.handshake = wire.shake(self.socket, context, self.host, seconds=STEP_SECONDS)
        seconds = time.monotonic() - begun
        self.socket.close()
        facts = wire.chain_facts(seen.chain)
        if seen.version:
            facts = [("Agreed on", f"{seen.version}, {seen.cipher}"), *facts]
        problem = told.of_server(seen, self.host)
        if problem is not None:
            return self._problem("tls", problem, facts=facts, seconds=seconds)
        found = "What answers is MESH’s own server, as far as the trust bundle of this environment can tell."
        # The wait for its verdict on our certificate is ours, not the network's.
        return self._passed("tls", found, facts=facts, seconds=seen.seconds)

    # --- MESH itself: one handshake tells of the certificate, the answer, the clock and the sign-in -----------------------------
    def _certificate(self) -> Result:
        facts = [
            ("Common name", self.identity.subject_cn),
            ("Issued by", self.identity.issuer),
            ("Valid until", london(self.identity.lapses_at)),
            ("SHA-256", self.identity.fingerprint),
        ]
        problem = told.of_certificate(self.handshake, self.identity)
        if problem is None:
            self._shake_hands()
            if isinstance(self.error, errors.ConnectionLost) and self.error.maybe_certificate:
                problem = explain(self.error, host=self.url.netloc)
            elif isinstance(self.error, errors.ClientCertificateRefused):
                problem = self._explain(self.error)
        if problem is not None:
            return self._problem("certificate", problem, facts=facts)
        if not self.handshake.asked:
            return self._problem("certificate", told.NOT_ASKED, state=State.WARN, facts=facts)
        return self._passed("certificate", "It was offered, and MESH accepted it.", facts=facts)

    def _shake_hands(self) -> None:
        begun = time.monotonic()
        try:
            connections.handshake(self.client, environment=self.mailbox.environment)
        except errors.MeshError as error:
            self.error = error
        self.seconds = time.monotonic() - begun

    def _answer(self) -> Result:
        error = self.error
        if error is None or isinstance(error, errors.AuthenticationFailed):
            return self._passed("answer", "MESH answers in its own language.", seconds=self.seconds)
        problem = told.of_answer(error, self.url.netloc) or self._explain(error)
        said = self._clean(error.description)
        facts = [(label, text) for label, text in (("Status", str(error.status or "")), ("It said", said)) if text]
        return self._problem("answer", problem, facts=facts, seconds=self.seconds)

    def _clock(self) -> Result:
        skew = self.client.clock_skew
        if skew is None:
            return self._result("clock", State.SKIPPED, "MESH did not say what time it is.", code="no_date")
        way = "ahead of" if skew > timedelta(0) else "behind"
        facts = [("Difference", f"{skew.total_seconds():+.0f} seconds (this server’s clock minus MESH’s)")]
        if abs(skew) < Mailbox.SKEW_WARNING:
            return self._passed("clock", "This server’s clock agrees with MESH’s.", facts=facts)
        found = f"This server’s clock is {span_words(skew)} {way} MESH’s, which refuses sign-ins more than 2 hours off."
        wrong = abs(skew) > TOKEN_WINDOW and self.error is not None
        code = "clock_wrong" if wrong else "clock_off"
        return self._result("clock", State.BAD if wrong else State.WARN, found, told.SET_CLOCK, code=code, facts=facts)

    def _sign_in(self) -> Result:
        if self.error is None:
            return self._passed("sign_in", "MESH accepted the mailbox ID, its password and the shared key.")
        problem = self._explain(self.error)
        if problem.code == "sign_in_refused":
            problem = told.password_or_key(self.mailbox, problem)
        said = self._clean(" ".join(part for part in (self.error.code, self.error.description) if part))
        return self._problem("sign_in", problem, facts=[("MESH said", said)] if said else [])

    def _handshake(self) -> Result:
        return self._passed("handshake", "MESH counts this mailbox as alive; it asks for this once every 24 hours.")

    def _inbox(self) -> Result:
        why_not = services.take_listing(self.mailbox)
        if why_not:
            return self._result("inbox", State.SKIPPED, why_not, code="not_listed")
        let_go()
        begun = time.monotonic()
        try:
            page = self.client.inbox_page(max_results=10)
        except errors.MeshError as error:
            return self._problem("inbox", self._explain(error), seconds=time.monotonic() - begun)
        seconds = time.monotonic() - begun
        waiting = len(page.message_ids) if page.approx_count is None else page.approx_count
        found = "Nothing waits in it." if not waiting else f"About {waiting:,} message{'' if waiting == 1 else 's'} in it."
        whose = " They are left for this mailbox’s own client." if waiting and self.mailbox.mode == Mode.WATCH else ""
        return self._passed("inbox", f"It can be listed. {found}{whose} Nothing was downloaded.", seconds=seconds)

    def _lookup(self) -> Result:
        ods_code = self.mailbox.organisation.ods_code
        if not self.workflows:
            found = "No workflow was seen in this mailbox’s traffic in the last 30 days, and MESH is asked by workflow."
            return self._result("lookup", State.SKIPPED, found, code="no_workflow")
        begun = time.monotonic()
        facts, elsewhere = [], []
        for workflow in self.workflows:
            if time.monotonic() - begun > _LOOKUP_SECONDS:
                facts.append((workflow, "Not asked: the answers before took too long."))
                continue
            try:
                matches = self.client.lookup(ods_code, workflow)
            except errors.MeshError as error:
                return self._problem(
                    "lookup", self._explain(error), state=State.WARN, facts=facts, seconds=time.monotonic() - begun
                )
            named = [f"{self._clean(one.mailbox_id, 60)} {self._clean(one.mailbox_name, 80)}".strip() for one in matches]
            facts.append((workflow, "; ".join(named[:10]) or "no mailbox"))
            if self.mailbox.mailbox_id not in {one.mailbox_id.upper() for one in matches}:
                elsewhere.append(workflow)
        if elsewhere:
            problem = told.answers_elsewhere(ods_code, elsewhere)
            return self._problem("lookup", problem, state=State.WARN, facts=facts, seconds=time.monotonic() - begun)
        found = f"Asked for {ods_code}, MESH names this mailbox for the workflows seen in its traffic."
        return self._passed("lookup", found, facts=facts, seconds=time.monotonic() - begun)


def let_go() -> None:
    """Gives the database connection back before something is waited for."""
    if not database.in_atomic_block:
        database.close()
