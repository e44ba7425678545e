"""TLS and mutual TLS: certificates from files, read again when the files change.

Who may post is decided by API keys (`authentication`); a client's certificate only opens the connection.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.runtime.settings import IngestionSettings

log = logging.getLogger(__name__)

WARN_BEFORE = timedelta(days=14)


class Unusable(Exception):
    """A certificate or key cannot be served with. The message names the file and what is wrong."""


def server_credentials(settings: IngestionSettings) -> grpc.ServerCredentials | None:
    """None when no certificate is set. Raises Unusable."""
    files = (settings.tls_certificate_file, settings.tls_key_file)
    if files == (None, None):
        if settings.tls_client_ca_file is not None:
            raise Unusable(
                "CIRCLES_INGESTION_TLS_CLIENT_CA_FILE needs a certificate and key of the gateway too"
            )
        return None
    if None in files:
        raise Unusable("Set both CIRCLES_INGESTION_TLS_CERTIFICATE_FILE and CIRCLES_INGESTION_TLS_KEY_FILE")
    certificates = _Certificates(settings)
    return grpc.dynamic_ssl_server_credentials(
        certificates.configuration(),
        certificates.changed,  # type: ignore[arg-type]  # None is documented: no change
        require_client_authentication=settings.tls_client_ca_file is not None,
    )


class _Certificates:
    """The three files, and when they were read."""

    def __init__(self, settings: IngestionSettings) -> None:
        assert settings.tls_certificate_file is not None  # noqa: S101  # the caller has looked
        assert settings.tls_key_file is not None  # noqa: S101
        self._certificate = settings.tls_certificate_file
        self._key = settings.tls_key_file
        self._client_ca = settings.tls_client_ca_file
        self._read = self._stamps()

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """Raises Unusable."""
        certificate, key = _bytes(self._certificate), _bytes(self._key)
        _check(self._certificate, certificate, self._key, key)
        client_ca = _bytes(self._client_ca) if self._client_ca is not None else None
        return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=client_ca)

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """For each new connection: the new configuration, or None to go on with the one there is."""
        try:
            stamps = self._stamps()
            if stamps == self._read:
                return None
            configuration = self.configuration()
        except Unusable as problem:
            # Half of a rotation may be on the disk: the next connection looks again.
            log.warning("certificate not changed: %s", problem)
            return None
        self._read = stamps
        log.info("certificate changed")
        return configuration

    def _stamps(self) -> list[int]:
        files = (self._certificate, self._key, self._client_ca)
        try:
            return [path.stat().st_mtime_ns for path in files if path is not None]
        except OSError as error:
            raise Unusable(f"{error.filename}: {error.strerror}") from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from error


def _check(certificate_file: Path, certificate: bytes, key_file: Path, key: bytes) -> None:
    try:
        leaf = x509.load_pem_x509_certificates(certificate)[0]
    except ValueError as error:
        raise Unusable(f"{certificate_file}: not a certificate in PEM") from error
    try:
        public = load_pem_private_key(key, password=None).public_key()
    except (ValueError, TypeError) as error:
        raise Unusable(f"{key_file}: not a private key in PEM without a passphrase") from error
    if public != leaf.public_key():
        raise Unusable(f"{key_file} is not the key of {certificate_file}")
    ends = leaf.not_valid_after_utc
    if ends <= datetime.now(UTC):
        raise Unusable(f"{certificate_file} has expired on {ends:%Y-%m-%d}: put a new one in its place")
    if ends - datetime.now(UTC) < WARN_BEFORE:
        log.warning("%s expires on %s", certificate_file, f"{ends:%Y-%m-%d}")
