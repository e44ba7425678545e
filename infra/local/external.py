"""Servers that run elsewhere: the URLs that name them, as the settings that they mean.

Nothing is connected to here.
"""

from __future__ import annotations

from urllib.parse import ParseResult, parse_qs, unquote, urlparse

from infra.local.errors import StackError

KAFKA_FORM = "kafka://user:password@host:9092,host2:9092?security=SASL_SSL&mechanism=SCRAM-SHA-512"
POSTGRES_FORM = "postgresql://owner:password@host:5432?sslmode=require"
_SECURITY = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def kafka_settings(url: str) -> dict[str, str]:
    """Settings by name that `CIRCLES_KAFKA_URL` stands for. Raises StackError."""
    parsed = _parsed("CIRCLES_KAFKA_URL", url, ("kafka",), KAFKA_FORM)
    user, password, hosts = _authority(parsed)
    options = _options(
        "CIRCLES_KAFKA_URL", parsed, {"security", "mechanism", "ca", "replication"}, KAFKA_FORM
    )
    security = options.get("security", "SASL_SSL" if user else "PLAINTEXT").upper()
    mechanism = options.get("mechanism", "SCRAM-SHA-256").upper()
    if security not in _SECURITY or mechanism not in _MECHANISMS:
        raise StackError(
            f"CIRCLES_KAFKA_URL asks for security {security} with {mechanism}.",
            f"Known are {', '.join(_SECURITY)}, and {', '.join(_MECHANISMS)}.",
        )
    settings = {
        "CIRCLES_KAFKA_BOOTSTRAP": ",".join(_with_port(host, 9092) for host in hosts.split(",")),
        "CIRCLES_KAFKA_SECURITY_PROTOCOL": security,
        "CIRCLES_KAFKA_SASL_MECHANISM": mechanism,
        "CIRCLES_KAFKA_USERNAME": user,
        "CIRCLES_KAFKA_PASSWORD": password,
        "CIRCLES_STACK_KAFKA_EMBEDDED": "false",
    }
    if "ca" in options:
        settings["CIRCLES_KAFKA_CA_FILE"] = options["ca"]
    if "replication" in options:
        settings["CIRCLES_KAFKA_REPLICATION_FACTOR"] = options["replication"]
    return settings


def postgres_settings(url: str) -> dict[str, str]:
    """Settings by name that `CIRCLES_POSTGRES_URL` stands for. Raises StackError."""
    parsed = _parsed("CIRCLES_POSTGRES_URL", url, ("postgresql", "postgres"), POSTGRES_FORM)
    if parsed.path not in ("", "/"):
        raise StackError(
            "CIRCLES_POSTGRES_URL names a database; Circles uses four.",
            f"Leave it out ({POSTGRES_FORM}); CIRCLES_POSTGRES_DATABASE_… name them.",
        )
    options = _options("CIRCLES_POSTGRES_URL", parsed, {"sslmode"}, POSTGRES_FORM)
    user, password, host = _authority(parsed)
    if not user:
        raise StackError("CIRCLES_POSTGRES_URL names no user.", f"Its form is {POSTGRES_FORM}.")
    name, _, port = _with_port(host, 5432).rpartition(":")
    return {
        "CIRCLES_POSTGRES_HOST": name.strip("[]"),
        "CIRCLES_POSTGRES_PORT": port,
        "CIRCLES_POSTGRES_USER": user,
        "CIRCLES_POSTGRES_PASSWORD": password,
        "CIRCLES_POSTGRES_SSLMODE": options.get("sslmode", "prefer"),
        "CIRCLES_STACK_POSTGRES_EMBEDDED": "false",
        # No superuser of a foreign server: provisioning acts as the owner.
        "CIRCLES_STACK_POSTGRES_ADMIN_PASSWORD": "",
    }


def _parsed(setting: str, url: str, schemes: tuple[str, ...], form: str) -> ParseResult:
    parsed = urlparse(url)
    if parsed.scheme not in schemes or not parsed.netloc.rpartition("@")[2]:
        # The URL itself may hold a password: only its form is shown.
        raise StackError(f"{setting} is not a URL that names a server.", f"Its form is {form}.")
    return parsed


def _authority(parsed: ParseResult) -> tuple[str, str, str]:
    credentials, _, hosts = parsed.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    return unquote(user), unquote(password), hosts


def _options(setting: str, parsed: ParseResult, known: set[str], form: str) -> dict[str, str]:
    options = {name: values[-1] for name, values in parse_qs(parsed.query).items()}
    unknown = sorted(options.keys() - known)
    if unknown:
        raise StackError(f"{setting} has an unknown option {unknown[0]!r}.", f"Its form is {form}.")
    return options


def _with_port(host: str, default: int) -> str:
    has_port = host.rpartition(":")[2].isdigit() and (host.startswith("[") is ("]:" in host))
    return host if has_port else f"{host}:{default}"
