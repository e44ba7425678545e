"""One attempt to post an alert: signature, headers, and what the other side says.

When to try again is `delivery`'s. The contract for receivers is docs/guides/safeguarding.md.
"""

from __future__ import annotations

import hashlib
import hmac
import time

import aiohttp

from services.safeguarding.duty import Address


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


def headers(secret: bytes, alert_id: str, body: bytes, now_seconds: int) -> dict[str, str]:
    timestamp = str(now_seconds)
    return {
        "Content-Type": "application/json",
        "User-Agent": "circles-safeguarding",
        "Idempotency-Key": alert_id,
        "Circles-Timestamp": timestamp,
        "Circles-Signature": signature(secret, timestamp, body),
    }


async def post(http: aiohttp.ClientSession, address: Address, alert_id: str, body: bytes) -> int:
    """The status with which it was taken, 2xx. Raises Undelivered for everything else."""
    try:
        signed = headers(address.secret(), alert_id, body, int(time.time()))
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
