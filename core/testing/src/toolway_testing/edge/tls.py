"""HTTPS and client certificates, with an authority made for the test."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from toolway.errors import ConfigError
from toolway_testing.edge.node import OpenGate, RunnerContract


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.cert = self._sign(self.name, self.key.public_key(), is_authority=True)
        self.file = self._write("ca.pem", self.cert.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        cert = self._sign(subject, key.public_key(), is_authority=False)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return (
            self._write(f"{name}.pem", cert.public_bytes(serialization.Encoding.PEM)),
            self._write(f"{name}.key", pem),
        )

    def trust(self, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.file))
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, is_authority: bool) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder(self.name, subject, key, x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(_usage(is_authority), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def _write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path


def _usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


class TlsContract(RunnerContract):
    """Inherit it beside a fixture `runner`."""

    @pytest.fixture
    def authority(self, tmp_path: Path) -> Authority:
        return Authority(tmp_path)

    async def test_https_is_served_with_the_configured_certificate(self, gate: OpenGate, authority: Authority) -> None:
        cert, key = authority.issue("gate")
        node = await gate(tls={"cert": cert, "key": key})

        answer = await node.get("/", tls=authority.trust())

        assert (answer.status, answer.json["scheme"]) == (200, "https")

    async def test_a_client_with_a_certificate_of_the_authority_comes_in(
        self, gate: OpenGate, authority: Authority
    ) -> None:
        cert, key = authority.issue("gate")
        node = await gate(tls={"cert": cert, "key": key, "client_ca": authority.file})

        assert (await node.get("/", tls=authority.trust(authority.issue("alice")))).status == 200

    async def test_a_client_without_a_good_certificate_stays_outside(
        self, gate: OpenGate, authority: Authority, tmp_path: Path
    ) -> None:
        cert, key = authority.issue("gate")
        node = await gate(tls={"cert": cert, "key": key, "client_ca": authority.file})
        (tmp_path / "other").mkdir()
        stranger = Authority(tmp_path / "other").issue("mallory")

        for context in (authority.trust(), authority.trust(stranger)):
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                assert (await node.get("/", tls=context)).status == 0
        assert node.app.requests == []

    async def test_a_handshake_that_does_not_come_is_cut(self, gate: OpenGate, authority: Authority) -> None:
        cert, key = authority.issue("gate")
        node = await gate(tls={"cert": cert, "key": key, "handshake_timeout": 0.3})

        assert await node.talk(b"") == b""

    async def test_plain_http_on_the_tls_port_is_cut(self, gate: OpenGate, authority: Authority) -> None:
        cert, key = authority.issue("gate")
        node = await gate(tls={"cert": cert, "key": key})

        assert b"200 OK" not in await node.talk(b"GET / HTTP/1.1\r\n\r\n")
        assert (await node.get("/", tls=authority.trust())).status == 200

    async def test_a_missing_certificate_is_an_error_that_says_what_to_do(self, gate: OpenGate, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cert, key and client_ca must be readable PEM files"):
            await gate(tls={"cert": tmp_path / "no.pem", "key": tmp_path / "no.key"})
