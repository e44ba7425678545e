"""Settings of aiokafka's clients, which the Faust worker uses; `client` has those of kafka-python."""

from __future__ import annotations

import ssl
from typing import Any

from services.kafka.client import sasl_options
from services.runtime.settings import KafkaSettings


def aiokafka_options(settings: KafkaSettings) -> dict[str, Any]:
    """Arguments that every aiokafka client takes to reach the broker."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap,
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = ssl.create_default_context(cafile=settings.ca_file)
    return options | sasl_options(settings)
