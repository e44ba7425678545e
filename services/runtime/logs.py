"""Logging, configured once per process. Log records carry counts, codes and positions, never a value
that a partner sent, a reference, a pseudonym or a password."""

from __future__ import annotations

import logging
import sys


def configure_logging(service: str, level: int = logging.INFO) -> None:
    """Lines on stderr, as `2026-01-01T00:00:00 landing INFO services.landing: …`."""
    logging.basicConfig(
        stream=sys.stderr,
        level=level,
        format=f"%(asctime)s {service} %(levelname)s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S%z",
        force=True,
    )
    for chatty in ("kafka", "aiokafka", "faust", "mode"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Warns at every connection that SCRAM runs without TLS; on loopback it does so on purpose.
    logging.getLogger("kafka.net.sasl").setLevel(logging.ERROR)
