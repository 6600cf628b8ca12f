"""Certificates and keys in every container, made by openssl and keytool as people's own tools do."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

# Everything that a test calls PLANTED is searched for in logs (tests.leaks).
PASSPHRASE = "PLANTED-päss phrase"
KEYTOOL_PASSPHRASE = "PLANTED-keystore"
CN = "X26HC001.X26.api.mesh-client.nhs.uk"
KINDS = ("rsa2048", "rsa4096", "ec")
_CONFIG = """
[ca]
default_ca = this
[this]
database = {folder}/index.txt
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[req]
distinguished_name = name
[name]
[client]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[server]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = serverAuth
[authority]
basicConstraints = critical,CA:TRUE
subjectKeyIdentifier = hash
"""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM files."""

    certificate: Path
    key: Path

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.read_bytes()

    @property
    def key_pem(self) -> bytes:
        """The key, PKCS #8 in clear."""
        return self.key.read_bytes()


class Making:
    """A folder with a root, an authority below it, and whatever they are asked to sign."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "index.txt").touch()
        self.config = folder / "openssl.cnf"
        self.config.write_text(_CONFIG.format(folder=folder))
        self._number = 0
        self._keys: dict[str, Path] = {}
        self.root = self.issue("Test Root", None, extensions="authority")
        self.authority = self.issue("Test Authority", self.root, extensions="authority")

    def run(self, *command: str | Path, given: bytes = b"") -> bytes:
        """The output of openssl or keytool."""
        done = subprocess.run([str(part) for part in command], input=given, capture_output=True, check=False)
        assert done.returncode == 0, (command, done.stderr, done.stdout)
        return done.stdout

    def openssl(self, *command: str | Path, given: bytes = b"") -> bytes:
        return self.run("openssl", *command, given=given)

    def path(self, ending: str) -> Path:
        """A file that is not there yet."""
        self._number += 1
        return self.folder / f"{self._number}.{ending}"

    def key(self, kind: str, *, new: bool = False) -> Path:
        """A key in PKCS #8; the same one each time unless ``new``."""
        if kind not in self._keys or new:
            path = self.path("key")
            chosen = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
            if kind != "ec":
                chosen = ("-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{kind.removeprefix('rsa')}")
            self.openssl("genpkey", *chosen, "-out", path)
            if new:
                return path
            self._keys[kind] = path
        return self._keys[kind]

    def issue(
        self,
        name: str,
        issuer: Pair | None,
        *,
        kind: str = "ec",
        extensions: str = "client",
        start: str = "20260101000000Z",
        end: str = "20291231235959Z",
        digest: str = "sha256",
        key: Path | None = None,
    ) -> Pair:
        """A certificate of ``name``, signed by ``issuer`` or by itself."""
        key = key or self.key(kind, new=extensions == "authority")
        request, certificate = self.path("csr"), self.path("pem")
        self.openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request, "-config", self.config)
        signer: list[str | Path] = ["-selfsign", "-keyfile", key]
        if issuer is not None:
            signer = ["-cert", issuer.certificate, "-keyfile", issuer.key]
        self.openssl(
            "ca", "-batch", "-notext", "-config", self.config, *signer, "-extensions", extensions, "-md", digest,
            "-startdate", start, "-enddate", end, "-in", request, "-out", certificate,
        )  # fmt: skip
        return Pair(certificate, key)

    def chain(self) -> bytes:
        """The authority and the root."""
        return self.authority.pem + self.root.pem

    def pkcs12(self, pair: Pair, *options: str, passphrase: str = PASSPHRASE, chain: bool = True) -> bytes:
        """A PKCS #12 file as openssl writes it."""
        above = self.path("pem")
        above.write_bytes(self.chain())
        more: list[str | Path] = ["-certfile", above] if chain else []
        return self.openssl(
            "pkcs12", "-export", "-inkey", pair.key, "-in", pair.certificate, *more, "-name", "mesh", *options,
            "-passout", f"pass:{passphrase}",
        )  # fmt: skip

    def keystore(self, pair: Pair, kind: str, *, passphrase: str = KEYTOOL_PASSPHRASE) -> bytes:
        """A keystore as keytool writes it: JKS, JCEKS or PKCS12."""
        source, made = self.path("p12"), self.path("jks")
        source.write_bytes(self.pkcs12(pair, passphrase=passphrase))
        self.run(
            "keytool", "-importkeystore", "-noprompt", "-srckeystore", source, "-srcstoretype", "PKCS12", "-srcstorepass",
            passphrase, "-destkeystore", made, "-deststoretype", kind, "-deststorepass", passphrase,
        )  # fmt: skip
        return made.read_bytes()
