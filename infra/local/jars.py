"""Kafka's jars: fetched through jgo into the user's Maven repository, and used only when their SHA-256 is
the committed one.

Every stack of a user shares them. How they are run is in `kafka.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.errors import StackError

LOCK = Path(__file__).with_name("kafka-jars.lock")
ROOTS = ("org.apache.kafka:kafka_2.13:4.3.0", "org.slf4j:slf4j-simple:1.7.36")


@dataclass(frozen=True)
class Jar:
    group: str
    artifact: str
    version: str
    sha256: str

    @classmethod
    def parse(cls, line: str) -> Jar:
        coordinates, sha256 = line.split()
        group, artifact, version = coordinates.split(":")
        return cls(group, artifact, version, sha256)

    def __str__(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"


def locked() -> list[Jar]:
    """The jars of the committed list."""
    lines = LOCK.read_text().splitlines()
    return [Jar.parse(line) for line in lines if line and not line.startswith("#")]


def class_path(on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[Path]:
    """Paths of all jars, each fetched when missing and then verified.

    Raises StackError when one cannot be fetched or is not the file that was locked.
    """
    jars = locked()
    context = _maven()
    paths = []
    with ThreadPoolExecutor(4) as pool:
        for done, path in enumerate(pool.map(lambda jar: _verified(context, jar), jars), start=1):
            paths.append(path)
            on_progress(done, len(jars))
    return paths


def _maven() -> Any:
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    return MavenContext(
        repo_cache=GlobalSettings.load().repo_cache, remote_repos={"central": MAVEN_CENTRAL_URL}
    )


def _verified(context: Any, jar: Jar) -> Path:
    path = _fetched(context, jar)
    if _sha256(path) == jar.sha256:
        return path
    # Once more: a download that was interrupted leaves half a file under the final name.
    path.unlink()
    path = _fetched(context, jar)
    if _sha256(path) != jar.sha256:
        raise StackError(
            f"{path} is not the {jar} that this version of Circles was tested with (SHA-256 differs).",
            "It was not used. Ask whoever runs your package mirror; the expected sum is in "
            f"{LOCK.relative_to(LOCK.parents[2])}.",
        )
    return path


def _fetched(context: Any, jar: Jar) -> Path:
    try:
        artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
        return Path(artifact.resolve())
    except Exception as error:
        raise StackError(
            f"{jar} could not be fetched: {error}",
            "Kafka's jars come from Maven Central, once per user: check the network and try again.",
        ) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Resolves `ROOTS` anew and rewrites the committed list."""
    import jgo

    resolved = {(each.groupId, each.artifactId, each.version) for root in ROOTS for each in jgo.resolve(root)}
    context = _maven()
    jars = [Jar(*gav, "") for gav in sorted(resolved)]
    lines = [line for line in LOCK.read_text().splitlines() if line.startswith("#")]
    lines += [f"{jar} {_sha256(_fetched(context, jar))}" for jar in jars]
    LOCK.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
