"""What Kafka and PostgreSQL must hold before the first service starts: topics, databases, roles, tables.

Everything here may be run again at any time. How the servers run is `infra.local`'s; the lake's tables
are landing's and dbt's, Dagster's are its own.
"""

from __future__ import annotations


def provision() -> None:
    """Makes what is missing and checks what exists. Raises StackError."""
    from infra.provisioning import databases, topics

    databases.provision()
    topics.provision()
