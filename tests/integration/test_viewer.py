"""Dagster's page for those who only look, by itself and behind the worked example of a proxy with logins.

The example's names, rules and ports are held by `tests/contracts/test_operator_proxy.py`.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from infra.local import processes
from services.runtime.settings import StackSettings, home
from tests.gateways import free_port
from tests.instances import stacks_instance
from tests.stacks import Stack, wait_until
from tests.tools import require

pytestmark = pytest.mark.stack

EXAMPLE = Path(__file__).parents[2] / "infra" / "proxy" / "nginx.conf"
OPERATOR, VIEWER = "operator.example.org", "viewer.example.org"
ALICE, BOB = ("alice", "operates"), ("bob", "looks")
DELETE = "mutation($id: String!) { deletePipelineRun(runId: $id) { __typename } }"


@dataclass(frozen=True)
class Seen:
    """A finished run, and the port of the page that shows it."""

    run_id: str
    port: int


@dataclass(frozen=True)
class Proxy:
    plain_port: int
    tls_port: int

    def connection(self) -> http.client.HTTPSConnection:
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.tls_port, context=trusting, timeout=60)

    def ask(
        self, host: str, login: tuple[str, str] | None = None, path: str = "/", **headers: str
    ) -> http.client.HTTPResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return answer_of(self.connection(), {"Host": host, **logged_in(login), **named}, path)


@pytest.fixture(scope="module")
def instance(stack: Stack) -> Iterator[dg.DagsterInstance]:
    with stacks_instance() as made:
        yield made


@pytest.fixture(scope="module")
def seen(instance: dg.DagsterInstance, bare_environment: dict[str, str]) -> Iterator[Seen]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIRCLES_STACK_VIEWER", "true")
        (viewer,) = [each for each in processes.processes() if each.name == "dagster-viewer"]
    run: dg.DagsterRun = create_run_for_test(instance, job_name="seen", status=dg.DagsterRunStatus.SUCCESS)
    environment = {**bare_environment, **viewer.environment, "CIRCLES_HOME": str(home())}
    server = subprocess.Popen(viewer.command, env=environment)
    try:
        wait_until(viewer.is_ready, "an answer of the viewer's page")
        yield Seen(run.run_id, StackSettings.load().viewer_port)
    finally:
        server.kill()
        server.wait()
        instance.delete_run(run.run_id)


@pytest.fixture(scope="module")
def proxy(seen: Seen, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The example, with this machine's ports and files in the place of its own. Both of its names lead to the
    viewer's page: which page is whose, the contract says."""
    nginx = require("nginx", "the worked example of a login in front of Dagster's pages")
    folder = tmp_path_factory.mktemp("proxy")
    found = Proxy(free_port(), free_port())
    _certify(folder / "tls")
    for name, (person, word) in (("operators", ALICE), ("viewers", BOB)):
        (folder / f"{name}.htpasswd").write_text(f"{person}:{{PLAIN}}{word}\n")
    text = EXAMPLE.read_text().replace("/etc/nginx/", f"{folder}/")
    text = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{seen.port}", text)
    text = re.sub(r"listen( +)443", rf"listen\g<1>127.0.0.1:{found.tls_port}", text)
    text = re.sub(r"listen( +)80 ", rf"listen\g<1>127.0.0.1:{found.plain_port} ", text)
    text = text.replace("http {", "http { access_log off;" + _own_folders(folder), 1)
    configuration = folder / "nginx.conf"
    configuration.write_text(text)
    # Without workers: they would be another user's, who may not read the test's folder.
    options = f"daemon off; master_process off; pid {folder}/pid; error_log stderr;"
    server = subprocess.Popen([nginx, "-p", folder, "-c", configuration, "-g", options])
    try:
        wait_until(lambda: _listens(found.tls_port), "an answer of nginx")
        yield found
    finally:
        server.terminate()
        server.wait()


def test_on_the_viewers_page_nothing_can_be_changed(seen: Seen, instance: dg.DagsterInstance) -> None:
    plain = http.client.HTTPConnection("127.0.0.1", seen.port, timeout=60)
    query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { jobName } } }"
    assert asked(plain, query, seen) == {"runOrError": {"jobName": "seen"}}
    assert asked(plain, DELETE, seen) == {"deletePipelineRun": {"__typename": "UnauthorizedError"}}
    assert instance.get_run_by_id(seen.run_id) is not None


@pytest.mark.parametrize(
    ("host", "login", "status"),
    [
        (OPERATOR, None, 401),
        (VIEWER, None, 401),
        (OPERATOR, ("alice", "guesses"), 401),
        (OPERATOR, BOB, 401),
        (VIEWER, ALICE, 401),
        (OPERATOR, ALICE, 200),
        (VIEWER, BOB, 200),
    ],
)
def test_a_page_opens_for_its_own_people(
    proxy: Proxy, host: str, login: tuple[str, str] | None, status: int
) -> None:
    answer = proxy.ask(host, login)
    assert answer.status == status
    assert ("Dagster" in answer.read().decode()) == (status == 200)


def test_who_is_logged_in_changes_nothing_on_the_viewers_page(proxy: Proxy, seen: Seen) -> None:
    headers = {"Host": VIEWER, **logged_in(BOB)}
    assert asked(proxy.connection(), DELETE, seen, headers) == {
        "deletePipelineRun": {"__typename": "UnauthorizedError"}
    }


def test_a_page_of_somebody_else_cannot_act_for_an_operator(proxy: Proxy) -> None:
    assert proxy.ask(OPERATOR, ALICE, Origin="https://evil.example.org").status == 403
    assert proxy.ask(OPERATOR, ALICE, Origin=f"https://{OPERATOR}").status == 200


def test_news_of_runs_come_through(proxy: Proxy) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    key = b64encode(bytes(16)).decode()
    answer = proxy.ask(
        VIEWER, BOB, "/graphql", Sec_WebSocket_Key=key, Sec_WebSocket_Protocol="graphql-ws", **upgrade
    )
    assert answer.status == 101


def test_another_name_gets_no_answer_and_no_password_goes_unencrypted(proxy: Proxy) -> None:
    with pytest.raises(http.client.RemoteDisconnected):
        proxy.ask("other.example.org")
    plain = http.client.HTTPConnection("127.0.0.1", proxy.plain_port, timeout=60)
    answer = answer_of(plain, {"Host": VIEWER})
    assert (answer.status, answer.headers["Location"]) == (301, f"https://{VIEWER}/")


def asked(
    connection: http.client.HTTPConnection, query: str, seen: Seen, headers: dict[str, str] | None = None
) -> Any:
    """What the page answers to a browser."""
    body = json.dumps({"query": query, "variables": {"id": seen.run_id}})
    connection.request("POST", "/graphql", body, {"Content-Type": "application/json", **(headers or {})})
    return json.load(connection.getresponse())["data"]


def answer_of(
    connection: http.client.HTTPConnection, headers: dict[str, str], path: str = "/"
) -> http.client.HTTPResponse:
    connection.request("GET", path, headers=headers)
    return connection.getresponse()


def logged_in(login: tuple[str, str] | None) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(':'.join(login).encode()).decode()}"} if login else {}


def _certify(folder: Path) -> None:
    """A certificate that nobody vouches for; openssl comes with nginx."""
    folder.mkdir()
    subprocess.run(
        [
            *(
                require("openssl", "a certificate for the proxy"),
                "req",
                "-x509",
                "-newkey",
                "ed25519",
                "-nodes",
            ),
            *("-subj", "/CN=example.org", "-days", "1"),
            *("-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"),
        ],
        check=True,
        capture_output=True,
    )


def _own_folders(folder: Path) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "".join(f" {kind}_temp_path {folder}/{kind};" for kind in kinds)


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
