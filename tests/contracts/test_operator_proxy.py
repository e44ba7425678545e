"""The worked example of a login in front of Dagster's pages: nothing is reached without one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.runtime.settings import StackSettings

CONFIGURATION = Path(__file__).parents[2] / "infra" / "proxy" / "nginx.conf"


def servers() -> dict[str, str]:
    """Text of each server that passes requests on, by the first label of its name."""
    text = re.sub(r"(?m)^\s*#.*$", "", CONFIGURATION.read_text())
    blocks = re.split(r"\n    server \{", text)[1:]
    named = {re.search(r"server_name\s+(\w+)", each): each for each in blocks if "proxy_pass" in each}
    return {name[1]: block for name, block in named.items() if name}


def test_each_page_is_where_the_settings_put_it(home: Path) -> None:
    stack = StackSettings.load()
    targets = {name: re.findall(r"proxy_pass (\S+);", block) for name, block in servers().items()}
    assert targets == {
        "operator": [f"http://127.0.0.1:{stack.dagster_port}"],
        "viewer": [f"http://127.0.0.1:{stack.viewer_port}"],
    }


@pytest.mark.parametrize("name", ["operator", "viewer"])
def test_nobody_passes_without_tls_and_a_login_of_that_page(name: str) -> None:
    block = servers()[name]
    assert re.search(r"listen\s+443 ssl;", block)
    assert re.search(rf"auth_basic_user_file\s+/etc/nginx/{name}s\.htpasswd;", block)
    assert "auth_basic off" not in CONFIGURATION.read_text()


def test_only_the_operators_own_page_may_act() -> None:
    (pattern,) = re.findall(r'\$http_origin !~ "([^"]+)"', servers()["operator"])
    allowed = re.compile(pattern)
    assert allowed.search("") and allowed.search("https://operator.example.org")
    for other in ("https://evil.example.org", "https://operator.example.org.evil.org", "null"):
        assert not allowed.search(other)
