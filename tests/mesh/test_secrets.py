"""Nothing secret leaves by a side door: not in a log record of any library, a repr, an error, or a traceback."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from meshportal.demo.pki import Pki
from meshportal.mesh import Connection, MeshClient, RetryPolicy, Timeouts, errors, tls_context
from meshportal.mesh.auth import Signer
from tests.double import Double, faults

from .conftest import ONE, TWO, AsClient, Raw, context_of
from .raw import answer, message

PASSWORD, KEY = "PLANTED-password", "PLANTED-shared-key"
SUBJECT, LOCAL_ID, FILE_NAME = "PLANTED-subject", "PLANTED-local", "PLANTED-file"
BODY = b"PLANTED-body " * 100
MARK = "PLANTED"


class Everything(logging.Handler):
    """Keeps all that a record holds, formatted and raw."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name} {self.format(record)} {record.__dict__!r}")


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """Every record of every logger, at DEBUG."""
    handler = Everything()
    names = [
        "",
        *logging.root.manager.loggerDict,
        "httpcore",
        "httpcore.http11",
        "httpcore.connection",
        "httpx",
        "meshportal.mesh",
    ]
    loggers = [logging.getLogger(name) for name in names]
    before = [(one, one.level, one.disabled) for one in loggers]
    for one in loggers:
        one.setLevel(logging.DEBUG)
        one.disabled = False
    logging.root.addHandler(handler)
    yield handler.lines
    logging.root.removeHandler(handler)
    for one, level, disabled in before:
        one.setLevel(level)
        one.disabled = disabled


@pytest.fixture
def secret(double: Double, as_client: AsClient) -> MeshClient:
    """A client whose secrets are planted."""
    double.state.shared_key = KEY
    for mailbox in (ONE, TWO):
        double.update_mailbox(mailbox, password=PASSWORD)
    return as_client(double.base_url, password=PASSWORD, shared_key=KEY)


def told(error: BaseException) -> str:
    """All that could be printed of an error, its causes included."""
    parts, current = ["".join(traceback.format_exception(error))], error
    seen: list[BaseException] = []
    while current not in seen:
        seen.append(current)
        parts += [str(current), repr(current), repr(current.args)]
        current = current.__cause__ or current
    return "\n".join(parts)


def check(heard: list[str], double: Double, *texts: str) -> None:
    used = [record.nonce for record in double.recorder.records() if record.nonce]
    for text in [*heard, *texts]:
        assert MARK not in text
        assert "NHSMESH" not in text
        assert not any(nonce in text for nonce in used)


def exercise(client: MeshClient, known: str) -> list[str]:
    """Uses everything; gives what could be printed of the results and of the errors."""
    shown: list[Any] = [client]

    def attempt(ask: Any) -> None:
        try:
            shown.append(ask())
        except errors.MeshError as error:
            shown.append(told(error))

    def receive() -> Any:
        with client.download(known) as download:
            shown.extend([download, download.headers])
            list(download)
            return download

    send: dict[str, Any] = {"recipient": TWO, "workflow_id": "TEST_WORKFLOW", "subject": SUBJECT, "local_id": LOCAL_ID}
    attempt(client.handshake)
    attempt(client.inbox_page)
    attempt(lambda: client.head(known))
    attempt(receive)
    attempt(lambda: client.send(BODY, file_name=FILE_NAME, chunk_size=500, **send))
    attempt(lambda: client.send(BODY, file_name=FILE_NAME, compress=True, **send))
    attempt(lambda: client.track(known))
    attempt(lambda: client.track_by_local_id(LOCAL_ID))
    attempt(lambda: client.lookup("X26", "TEST_WORKFLOW"))
    attempt(lambda: client.acknowledge(known))
    return [f"{one!r} {one}" for one in shown]


def seed(double: Double) -> str:
    return double.put(ONE, BODY, subject=SUBJECT, local_id=LOCAL_ID, file_name=FILE_NAME, sender="X26ABC2").message_id


def test_when_all_is_well(double: Double, secret: MeshClient, heard: list[str]) -> None:
    check(heard, double, *exercise(secret, seed(double)))
    ours = [line for line in heard if line.startswith("meshportal.mesh ")]
    assert len(ours) >= 10
    assert len([record for record in double.recorder.records() if record.status and record.status < 300]) >= 10


@pytest.mark.faults
@pytest.mark.parametrize(
    "fault",
    [
        faults.drop("before_body"),
        faults.drop("during_body", reset=True),
        faults.drop("after"),
        faults.drop("during_answer"),
        faults.truncate(0.5, declare="actual"),
        faults.cut_gzip(0.5),
        faults.status(403),
        faults.status(500, "html"),
        faults.status(417, "validation"),
        faults.status(200, "html"),
        faults.redirect("https://elsewhere.example/"),
    ],
    ids=str,
)
def test_when_all_goes_wrong(double: Double, secret: MeshClient, heard: list[str], fault: dict[str, Any]) -> None:
    known = seed(double)
    double.faults.add(match={}, action=fault, times=None)
    check(heard, double, *exercise(secret, known))


@pytest.mark.faults
def test_when_nobody_is_there(double: Double, secret: MeshClient, heard: list[str]) -> None:
    double.down()
    check(heard, double, *exercise(secret, "M1"))


@pytest.mark.faults
@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nMex-Subject PLANTED without a colon\r\n\r\n",
        b"PLANTED is not HTTP\r\n\r\n",
        b"HTTP/1.1 200 PLANTED\r\nContent-Length: PLANTED\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: PLANTED\r\n\r\n",
        message(b"PLANTED\r\nbody", length=None, Transfer_Encoding="chunked"),
        message(b"PLANTED", Content_Encoding="gzip", Mex_Subject="PLANTED"),
        message(b"PLANTED", Content_Encoding="PLANTED"),
        message(b"PLANTED", chunk="PLANTED"),
        answer(200, b'{"messages": ["PLANTED"'),
        answer(417, b"PLANTED words from before MESH", {"Content-Encoding": "PLANTED"}),
        answer(302, b"PLANTED", {"Location": "/PLANTED"}),
        answer(404, b"<html>PLANTED</html>"),
    ],
    ids=lambda said: repr(said[:60]),
)
def test_what_a_server_says_is_not_repeated(raw: Raw, as_client: AsClient, double: Double, heard: list[str], said: bytes) -> None:
    client = as_client(raw(said).url, password=PASSWORD, shared_key=KEY)
    check(heard, double, *exercise(client, "M1"))


@pytest.mark.faults
def test_timeouts_and_tls(pki: Pki, double: Double, heard: list[str], as_client: AsClient) -> None:
    with Double(pki, shared_key=KEY) as tls:
        tls.add_mailbox(ONE, PASSWORD)
        tls.faults.add(match={}, action=faults.refuse_tls("alert"), times=2)
        tls.faults.add(match={}, action=faults.refuse_tls("close"), times=2)
        tls.faults.add(match={"route": ["list", "send"]}, action=faults.hang(3), times=None)
        client = as_client(
            tls.base_url,
            context=context_of(pki),
            password=PASSWORD,
            shared_key=KEY,
            timeouts=Timeouts(read=0.05),
            retry=RetryPolicy(attempts=1),
        )
        check(heard, tls, *exercise(client, seed(tls)))


def test_keys_are_not_told(pki: Pki, heard: list[str]) -> None:
    ours = pki.clients[ONE]
    planted = ours.key_pem.replace(b"\n", b"\nPLANTED", 1)
    secret_lines = [line for line in ours.key_pem.decode().splitlines() if "-----" not in line]
    for key, password in ((planted, None), (ours.key_pem, "PLANTED"), (ours.certificate_pem + planted, "PLANTED")):
        with pytest.raises(errors.CertificateUnusable) as caught:
            tls_context(ours.certificate_pem, key, pki.authority.certificate_pem, private_key_password=password)
        said = told(caught.value)
        assert MARK not in said
        assert not any(line in said for line in secret_lines)
    assert not any(MARK in line for line in heard)


def test_objects_show_nothing(double: Double, secret: MeshClient) -> None:
    signer = Signer(ONE, PASSWORD, KEY)
    assert repr(signer) == f"<Signer {ONE}>"

    def attributes(held: Any, depth: int = 4) -> Iterator[Any]:
        yield held
        slots = [name for kind in type(held).__mro__ for name in getattr(kind, "__slots__", ())]
        names = {*getattr(held, "__dict__", {}), *([slots] if isinstance(slots, str) else slots)}
        for name in names if depth and type(held).__module__.startswith("meshportal") else ():
            if hasattr(held, name):
                yield from attributes(getattr(held, name), depth - 1)

    for one in [*attributes(secret), *attributes(signer)]:
        assert MARK not in repr(one)


def test_the_log_line(double: Double, client: MeshClient, caplog: pytest.LogCaptureFixture) -> None:
    put = double.put(ONE, b"abc")
    with caplog.at_level(logging.INFO, "meshportal.mesh"):
        with client.download(put.message_id) as download:
            list(download)
        client.ping()
    lines = [record.getMessage() for record in caplog.records if record.name == "meshportal.mesh"]
    assert lines[0].startswith(f"GET get mailbox={ONE} message_id={put.message_id} status=200 error=- bytes=")
    assert lines[0].endswith("attempt=1")
    assert lines[1].startswith(f"GET ping mailbox={ONE} message_id=- status=200 error=- bytes=")


def test_the_address_is_not_in_the_log(double: Double, secret: MeshClient, heard: list[str]) -> None:
    """A route stands for it: an address can hold a local id, a filter or an organisation."""
    secret.inbox_page(workflow_filter="PLANTED*")
    secret.search("PLANTED")
    with pytest.raises(errors.NotFound):
        secret.track_by_local_id("PLANTED")
    check(heard, double)


def test_an_nhs_number_as_an_id_is_masked(raw: Raw, as_client: AsClient, heard: list[str]) -> None:
    client = as_client(raw(answer(404, b'{"detail": []}')).url)
    for known in ("9434765919", "GPPROVIDER_9434765919_01012000_Smith"):
        with pytest.raises(errors.MeshError):
            client.head(known)
    ours = [line for line in heard if line.startswith("meshportal.mesh ")]
    assert ours and not any("9434765919" in line for line in ours)


def test_tracebacks_of_plain_mistakes(connect: Any, heard: list[str]) -> None:
    connection: Connection = connect("http://localhost:9", retry=RetryPolicy(attempts=1))
    with pytest.raises(errors.InvalidRequest) as caught:
        MeshClient(connection, mailbox_id="a\nPLANTED", password=PASSWORD, shared_key=KEY)
    assert MARK not in told(caught.value).replace('mailbox_id="a\\nPLANTED"', "")
