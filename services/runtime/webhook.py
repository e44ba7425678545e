"""One attempt to post something signed to an address that the operator has set: who may be reached,
signature, headers, and what the other side says.

What is posted, and when it is tried again, is the caller's. The contract for receivers is
docs/guides/safeguarding.md.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from pydantic import SecretStr

MIN_SECRET_BYTES = 32


@dataclass(frozen=True)
class Address:
    """Where a target is reached. Neither of the two is ever logged."""

    url: str
    secret_file: Path

    def secret(self) -> bytes:
        """Read anew each time, so that it may be replaced. Raises ValueError."""
        try:
            secret = self.secret_file.read_bytes().strip()
        except OSError as error:
            raise ValueError(f"the secret file cannot be read: {type(error).__name__}") from error
        if len(secret) < MIN_SECRET_BYTES:
            raise ValueError(f"the secret has fewer than {MIN_SECRET_BYTES} bytes")
        return secret


def address(setting: str, url: SecretStr | None, secret_file: Path | None) -> Address | None:
    """What the settings `…_URL` and `…_SECRET_FILE` mean; None without a URL. Raises ValueError."""
    if url is None or not url.get_secret_value():
        return None
    if problem := check_url(url.get_secret_value()):
        raise ValueError(f"{setting}_URL has {problem}")
    if secret_file is None:
        raise ValueError(f"{setting}_URL needs {setting}_SECRET_FILE")
    return Address(url.get_secret_value(), secret_file)


def check_url(url: str) -> str | None:
    """What is wrong with the address of a webhook; it is not repeated, since it may be a key."""
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        return "no user and no password in it: alerts are signed"
    if not parts.hostname:
        return "no host in it"
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname)):
        return None
    return "neither https nor http on loopback"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Undelivered(Exception):
    """Why, in words that hold neither address nor secret."""


def session(timeout_seconds: float) -> aiohttp.ClientSession:
    """For webhooks only: it reads no proxy and no password from the environment, and keeps no cookie."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=timeout_seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """`v1=` and the HMAC-SHA256 over timestamp, a dot and the body, in hexadecimal."""
    return f"v1={hmac.new(secret, timestamp.encode() + b'.' + body, hashlib.sha256).hexdigest()}"


def headers(secret: bytes, post_id: str, body: bytes, now_seconds: int) -> dict[str, str]:
    timestamp = str(now_seconds)
    return {
        "Content-Type": "application/json",
        "User-Agent": "circles",
        "Idempotency-Key": post_id,
        "Circles-Timestamp": timestamp,
        "Circles-Signature": signature(secret, timestamp, body),
    }


async def post(http: aiohttp.ClientSession, address: Address, post_id: str, body: bytes) -> int:
    """The status with which it was taken, 2xx. Raises Undelivered for everything else."""
    try:
        signed = headers(address.secret(), post_id, body, int(time.time()))
        async with http.post(address.url, data=body, headers=signed, allow_redirects=False) as answer:
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        # Its words may have the address in them.
        raise Undelivered(type(error).__name__) from error
    except ValueError as error:
        raise Undelivered(str(error)) from error
    if 300 <= status < 400:
        raise Undelivered(f"redirect {status}, which is not followed")
    if not 200 <= status < 300:
        raise Undelivered(f"status {status}")
    return status
