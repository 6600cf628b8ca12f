"""A whole portal at work: keys, passphrases and passwords go in and out, and lie in clear nowhere but in its processes' memory.

Looked into: every file that a process of the portal opens for writing, also one that is removed at once or never had a name;
their open files and shared mappings while they work; all files of the portal; every log at the noisiest level; every cell of the
database (and PostgreSQL's own files); everything said to the broker; command lines. Planted secrets are looked for in every form
in which a program might write them. At the end they are written down on purpose, to show that each of these looks finds them.
"""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID

from meshportal.demo.pki import Authority, Identity, create_pki
from meshportal.demo.processes import LOOPBACK, Service, free_port
from meshportal.demo.redis_server import RedisServer
from tests import environment
from tests.double.process import DoubleProcess
from tests.fleet.portal import ROOT, Portal, wait_until
from tests.secrets import needles as forms
from tests.secrets.keeping import Broker, in_database
from tests.secrets.watching import Finding, Watch, files_under

pytestmark = [
    pytest.mark.simulation,
    pytest.mark.xdist_group("secrets"),
    pytest.mark.skipif(sys.platform != "linux", reason="Looks into processes through /proc, which Linux has."),
]
BOX = "X26HC001"
# Spaces and other letters, so that each way of writing them down differs from the others.
WORDS = {
    "passphrase of the file": "PLANTED pässphrase+of/a file",
    "wrong passphrase": "PLANTED wrong+passphrase",
    "password of the mailbox": "PLANTED mailbox+pässword",
    "password in a file of mailboxes": "PLANTED cell+pässword, quoted",
    "passphrase of what is taken out": "PLANTED long & way out",
    "sign-in": "PLANTED sign-in 9f3",
}


class Person:
    """A manager with a browser."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=60, follow_redirects=False)

    def post(self, address: str, data: dict[str, str], **more: Any) -> httpx.Response:
        """Fills in the form of the page at ``address`` and sends it."""
        page = self.client.get(more.pop("page", address))
        assert page.status_code == 200, (address, page.status_code)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token is not None, address
        return self.client.post(address, data={**data, "csrfmiddlewaretoken": token[1]}, **more)

    def upload(self, address: str, fields: dict[str, str], file: bytes) -> httpx.Response:
        """The same with a file, sent so slowly that it is under way for two seconds."""
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.client.get(address).text)
        assert token is not None
        boundary = secrets.token_hex(16)
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in {**fields, "csrfmiddlewaretoken": token[1]}.items()
        )
        head += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.pem"\r\nContent-Type: text/plain\r\n\r\n'
        )
        whole = head.encode() + file + f"\r\n--{boundary}--\r\n".encode()

        def parts() -> Iterator[bytes]:
            step = max(len(whole) // 20, 1)
            for start in range(0, len(whole), step):
                yield whole[start : start + step]
                time.sleep(0.1)

        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": str(len(whole))}
        return self.client.post(address, content=parts(), headers=headers)


class World:
    """A portal that works, a MESH service that is no part of it, and eyes on everything in between."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.needles = [found for name, word in WORDS.items() for found in forms.of_password(name, word)]
        self.home, self.temporary, self.broker_home = folder / "portal", folder / "temporary", folder / "redis"
        self.temporary.mkdir()
        self.pki = create_pki([(BOX, "X26")])
        self.first = self.pki.clients[BOX]
        self.second = self.pki.authority.client("SERVER002", "X26", key_kind="rsa")
        self.third = self.pki.authority.client("SERVER003", "X26")
        for name, given in {"first key": self.first, "second key": self.second, "third key": self.third}.items():
            self.needles += forms.of_key(name, given.key_pem)
        # Beside the portal: the service knows its client's key and password.
        self.double = stack.enter_context(DoubleProcess(folder / "mesh", self.pki))
        self.double.add_mailbox(BOX, WORDS["password of the mailbox"])
        redis = stack.enter_context(RedisServer(self.broker_home))
        self.broker = stack.enter_context(Broker(redis.url, self.broker_home))
        inside = Path(__file__).parent / "inside"
        self.watch = stack.enter_context(Watch(folder / "seen"))
        self.watch.needles = self.needles
        settings = {
            **self.watch.environment,
            "PYTHONPATH": f"{inside}:{ROOT}",
            "TMPDIR": str(self.temporary),
            "LOG_LEVEL": "DEBUG",
            "MESHPORTAL_SECURE": "0",
            "ALLOWED_HOSTS": "localhost",
        }
        self.portal = stack.enter_context(Portal(self.home, url=self.double.base_url, redis_url=redis.url, settings=settings))
        self.portal.ask("seed_team", ca=self.pki.authority.certificate_pem.decode())
        self.portal.ask("collect_static")
        self.since = self.watch.begin()
        self.portal.ask("add_people", password=WORDS["sign-in"], emails={"manager": "mina@example.org"})
        port = free_port()
        command = [sys.executable, "-m", "gunicorn", "meshportal.wsgi", "--bind", f"{LOOPBACK}:{port}", "--workers", "2"]
        command += ["--worker-class", "gthread", "--threads", "4", "--no-control-socket"]
        web = stack.enter_context(Service("web", command, log=self.home / "web.log", env=self.portal.environment, cwd=ROOT))
        web.wait_for_http(f"http://localhost:{port}/livez", timeout=40)
        self.portal.start_beat("beat")
        self.portal.start_worker("one", pool="prefork", concurrency=2, queues="poll,default,send,notify")
        self.person = Person(f"http://localhost:{port}")
        stack.callback(self.person.client.close)

    def look(self) -> list[Finding]:
        """Everything, now."""
        found = self.watch.look_again()
        self.files_seen = 0
        for folder in (self.home, self.temporary):
            more, number = files_under(folder, needles=self.needles, since=self.since)
            found |= more
            self.files_seen += number
        more, self.cells_seen = in_database(self.portal.environment["DATABASE_URL"], self.needles)
        found |= more | self.broker.findings(self.needles)
        for process in self.watch.processes:
            for name in ("cmdline", "environ"):
                try:
                    data = Path(f"/proc/{process}/{name}").read_bytes()
                except OSError:
                    continue
                found |= {Finding("process", name, what) for what in forms.found_in(data, self.needles)}
        return sorted(found)

    def command(self, *arguments: str, given: str) -> None:
        """A management command, with a secret on its standard input."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            input=given, capture_output=True, text=True, env=self.portal.environment, cwd=ROOT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        with (self.home / "commands.log").open("a") as log:
            log.write(done.stdout + done.stderr)


@pytest.fixture
def world(tmp_path: Path, need: Any) -> Iterator[World]:
    need("redis")
    with ExitStack() as stack:
        yield World(stack, tmp_path)


def test_no_key_and_no_password_lies_in_clear_anywhere(world: World) -> None:
    page = "/t/fleet/certificates/"
    sign_in(world.person)
    bring_in_two_and_fail_in_between(world)
    world.command(
        "add_mailbox", BOX, "--team", "fleet", "--environment", "sandbox", "--ods-code", "X26", "--name", "Pathology",
        "--identity", "From a file", "--mode", "collect", "--poll-seconds", "1",
        given=WORDS["password of the mailbox"] + "\n",
    )  # fmt: skip
    world.double.put(BOX, b"a letter", workflow_id="TEST", file_name="letter.txt")
    wait_until(lambda: not world.double.inbox(BOX), seconds=60, what="the letter collected", portal=world.portal)
    bring_in_mailboxes(world)
    secret_address = world.person.post(f"{page}calendar/address/", {"standing": ""}, page=f"{page}calendar/")
    path = re.search(r"/calendar/([A-Za-z0-9_-]{43})/certificates\.ics", secret_address.text)
    assert path is not None
    world.needles += forms.of_password("secret of the calendar", path[1])
    assert world.person.client.get(path[0]).text.startswith("BEGIN:VCALENDAR")
    assert world.person.client.get(path[0].replace(path[1], path[1][::-1])).status_code == 404
    asked = request_and_receive(world)
    for name, identity in {**identities(world), "Asked for": asked}.items():
        taken_out(world, name, identity)
    found = world.look()
    assert not found, "\n".join(f"{one.kind}, {one.place}: {one.what}" for one in found)
    # It was looked at what there was to see.
    assert any(name.startswith("memfd:") for name in world.watch.names), "no TLS context was made under the eyes of the test"
    assert len(world.watch.processes) >= 5
    assert world.watch.descriptors > 1000 and world.watch.mappings > 100
    assert world.files_seen > 5 and world.cells_seen > 300 and len(world.broker.said) > 50
    assert len((world.home / "web.log").read_text().splitlines()) > 10
    assert '"level": "debug"' in world.portal.log_tail(100_000)
    # Control: what is written down on purpose is found in each place, and in the form that it has there.
    world.portal.ask("betray", key_pem=world.first.key_pem.decode(), password=WORDS["password of the mailbox"])
    betrayed = world.look()
    assert missed_by_the_control(betrayed) == set()
    world.portal.stop("one")
    world.portal.kill("beat")


def missed_by_the_control(found: list[Finding]) -> set[tuple[str, str, str]]:
    """What the control should have been found by, and was not."""
    wanted = {
        ("handed over", "temporary", "first key, as given"),
        ("handed over", "temporary", "password of the mailbox, in UTF-16"),
        ("handed over", "memfd:betrayed", "first key, PEM line (PKCS8)"),
        ("mapping", "/dev/zero", "password of the mailbox, in clear"),
        ("descriptor", "fleet.log", "password of the mailbox, in clear"),
        ("file", "data/betrayed", "password of the mailbox, in clear"),
        ("file", "fleet.log", "password of the mailbox, in clear"),
        ("database", "accounts_team", "password of the mailbox, in clear"),
        ("broker", "a key", "password of the mailbox, in clear"),
        ("broker", "a command", "first key, PEM line (PKCS8)"),
        ("broker", "its file dump.rdb", "password of the mailbox, in clear"),
    }
    if environment.database_kind() == "postgresql":
        wanted.add(("database", "file", "password of the mailbox, in clear"))
    return {one for one in wanted if not any(hit.kind == one[0] and one[1] in hit.place and hit.what == one[2] for hit in found)}


def sign_in(person: Person) -> None:
    for word, status in ((f"{WORDS['sign-in']} wrong", 200), (WORDS["sign-in"], 302)):
        answer = person.post("/sign-in/", {"username": "mina@example.org", "password": word})
        assert answer.status_code == status


def bring_in_two_and_fail_in_between(world: World) -> None:
    """By the form, as a file under a passphrase, as a file in clear, pasted; and as files that Django would put on a disk."""
    page = "/t/fleet/certificates/import/"
    under = WORDS["passphrase of the file"].encode()
    file = pkcs12.serialize_key_and_certificates(
        b"mesh", world.first.private_key(), world.first.certificate, [world.pki.authority.certificate],
        serialization.BestAvailableEncryption(under),
    )  # fmt: skip
    clear = world.second.key_pem + world.second.certificate_pem
    third = world.third.key_pem + world.third.certificate_pem
    noise = b"#" * 4_000_000

    def fields(name: str, **more: str) -> dict[str, str]:
        return {"name": name, "environment": "sandbox", **more}

    tries = [
        (world.person.post(page, fields("Wrong", passphrase=WORDS["wrong passphrase"]), files={"file": ("a.p12", file)}), 422),
        (
            world.person.post(
                page, fields("From a file", passphrase=WORDS["passphrase of the file"]), files={"file": ("a.p12", file)}
            ),
            302,
        ),
        (world.person.upload(page, fields("Too large"), world.second.key_pem + noise + world.second.certificate_pem), 422),
        (world.person.upload(page, fields("Too large", pasted=world.third.key_pem.decode()), noise), 422),
        (world.person.upload(page, fields("In clear"), clear + b"#" * 900_000), 302),
        (world.person.post(page, fields("In clear", pasted=third.decode())), 422),
        (world.person.post(page, fields("No certificate", pasted=world.third.key_pem.decode())), 422),
        (world.person.post(page, fields("Pasted", pasted=third.decode())), 302),
        # More text than the portal takes, which nothing of it reads to its end.
        (world.person.post(page, fields("Pasted", pasted=third.decode() + "#" * 3_000_000)), 400),
    ]
    assert [answer.status_code for answer, _ in tries] == [status for _, status in tries]
    for answer, _ in tries:
        assert forms.found_in(answer.content, world.needles) == set()


def bring_in_mailboxes(world: World) -> None:
    """From a CSV file: refused with the password in the wrong column, too large, looked at, imported and examined."""
    page, word = "/t/fleet/mailboxes/import/", WORDS["password in a file of mailboxes"]

    def file(mode: str, more: str = "") -> bytes:
        head = "mailbox_id,environment,ods_code,name,password,mode,certificate"
        return f'{head}\nX26CSV1,sandbox,X26,Ward,"{word}",{mode},From a file\n{more}'.encode()

    tries = [
        (world.person.upload(page, {}, file(f'"{word}"')), 422),
        (world.person.upload(page, {}, f'"{word}",x\n"{word}",y,"{word}"\n'.encode()), 422),
        (world.person.upload(page, {}, file("watch", "#" * 1_200_000)), 422),
        (world.person.upload(page, {}, file("watch")), 302),
    ]
    assert [answer.status_code for answer, _ in tries] == [status for _, status in tries]
    plan = tries[-1][0].headers["Location"]
    seen = world.person.client.get(plan)
    digest = re.search(r'name="digest" value="([0-9a-f]+)"', seen.text)
    assert digest is not None
    answer = world.person.post(plan, {"digest": digest[1], "reason": "a new ward"})
    assert answer.status_code == 302, answer.text
    checked = answer.headers["Location"]
    wait_until(
        lambda: "data-refresh" not in world.person.client.get(checked).text.partition("<main")[2],
        seconds=60,
        what="the connection examined",
        portal=world.portal,
    )
    exported = world.person.client.get("/t/fleet/mailboxes/export/?environment=sandbox")
    assert "X26CSV1" in exported.text
    answers = [one for one, _ in tries] + [seen, answer, exported, world.person.client.get(checked)]
    for one in answers:
        assert forms.found_in(one.content, world.needles) == set()


def request_and_receive(world: World) -> Identity:
    """A key that the portal made, which nobody outside of it knows until it is taken out."""
    page = "/t/fleet/certificates/request/"
    form = world.person.client.get(page)
    once = re.search(r'name="once" value="([^"]+)"', form.text)
    assert once is not None
    given = {
        "name": "Asked for", "environment": "sandbox", "local_id": "SERVER004", "ods_code": "X26", "organisation": "Fleet",
        "why": "new", "key_size": "2048", "once": once[1],
    }  # fmt: skip
    made = world.person.post(page, given)
    assert made.status_code == 302, made.text
    asked = made.headers["Location"]
    signed = sign(world.pki.authority, world.person.client.get(f"{asked}csr/").content)
    received = world.person.post(asked, {"name": "Asked for", "pasted": signed})
    assert received.status_code == 302, received.text
    return Identity("", signed.encode(), b"")


def identities(world: World) -> dict[str, Identity]:
    return {"From a file": world.first, "In clear": world.second, "Pasted": world.third}


def taken_out(world: World, name: str, identity: Identity) -> None:
    """Takes the key out; from then on its file is looked for too, and the key that the portal made."""
    listed = world.person.client.get("/t/fleet/certificates/").text
    found = re.search(rf'href="(/t/fleet/certificates/[0-9a-f-]{{36}}/)">{name}<', listed)
    assert found is not None, name
    passphrase = WORDS["passphrase of what is taken out"]
    given = {"reason": "The Java client needs it.", "passphrase": passphrase, "again": passphrase}
    refused = world.person.post(f"{found[1]}export-key/", {**given, "again": WORDS["wrong passphrase"]})
    answer = world.person.post(f"{found[1]}export-key/", given)
    assert (refused.status_code, answer.status_code) == (422, 200)
    assert "no-store" in answer.headers["Cache-Control"]
    key, certificate, _ = pkcs12.load_key_and_certificates(answer.content, passphrase.encode())
    assert key is not None and certificate == identity.certificate
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    if identity.key_pem:
        assert pem == identity.key_pem
    world.needles += [*forms.of_key(f"key of {name}", pem), *forms.of_file(f"file of {name}", answer.content)]
    assert forms.found_in(answer.content + refused.content, forms.of_key(name, pem)) == set()


def sign(authority: Authority, csr_pem: bytes) -> str:
    """What an issuer sends back."""
    csr = x509.load_pem_x509_csr(csr_pem)
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(authority.private_key(), hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()
