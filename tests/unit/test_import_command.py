"""`circles import` against a gateway that does what a script says: what is posted, shown and kept back."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner, Result

from infra.cli.main import cli
from tests.fakes.gateway import FakeGateway, fail

EXAMPLES = Path(__file__).parents[2] / "docs" / "guides" / "examples"
STUDIES = ("metapsy", str(EXAMPLES / "metapsy.csv"), "--outcome", "depression", "--design", "randomised")
PEOPLE = ("redcap", str(EXAMPLES / "redcap.csv"), "--mapping", str(EXAMPLES / "redcap.yaml"))
RESPONSES = ("fhir", str(EXAMPLES / "fhir.json"))
KEY = "ck_tell_tale"


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with FakeGateway() as gateway:
        yield gateway


def run(gateway: FakeGateway, *arguments: str, key: str = KEY) -> Result:
    environment = {"CIRCLES_PARTNER_KEY": key, "CIRCLES_PARTNER_ADDRESS": gateway.address}
    result = CliRunner().invoke(cli, ["import", *arguments], env=environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert KEY not in result.output
    return result


def changed(folder: Path, old: str, new: str, count: int = -1) -> tuple[str, ...]:
    """The command of the studies with another file."""
    path = folder / "changed.csv"
    path.write_text((EXAMPLES / "metapsy.csv").read_text().replace(old, new, count))
    return ("metapsy", str(path), *STUDIES[2:])


@pytest.mark.parametrize(("command", "count"), [(STUDIES, 13), (PEOPLE, 102), (RESPONSES, 3)])
def test_a_file_is_posted_once_however_often_it_is_imported(
    home: Path, gateway: FakeGateway, command: tuple[str, ...], count: int
) -> None:
    first, second = run(gateway, *command), run(gateway, *command)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert f"{count:>9}  accepted" in first.stdout
    assert f"{0:>9}  accepted" in second.stdout and f"{count:>9}  known already" in second.stdout
    assert len(gateway.stored) == count and gateway.keys == {f"Bearer {KEY}"}


def test_a_dry_run_posts_nothing_and_needs_no_key(home: Path, gateway: FakeGateway) -> None:
    result = run(gateway, *STUDIES, "--dry-run", key="")
    assert result.exit_code == 0 and not gateway.received
    assert '"study_code": "example-adams-2015"' in result.stdout
    assert result.stdout.count('"event_id"') == 3
    assert run(gateway, *STUDIES, "--dry-run", "--show", "50").stdout.count('"event_id"') == 13


def test_while_a_row_is_wrong_nothing_is_posted(home: Path, gateway: FakeGateway, tmp_path: Path) -> None:
    command = changed(tmp_path, "12.9", "NaN")
    result = run(gateway, *command)
    assert result.exit_code == 1 and not gateway.received
    assert "changed.csv, line 2, mean_arm2: NaN: should be a number as 3.5" in result.stderr
    assert run(gateway, *command, "--dry-run").exit_code == 1


def test_the_others_are_posted_when_that_is_wanted(home: Path, gateway: FakeGateway, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.csv"
    result = run(gateway, *changed(tmp_path, "12.9", "NaN"), "--skip-wrong", "--rejects", str(rejects))
    assert result.exit_code == 0 and f"{len(gateway.stored):>9}  accepted" in result.stdout
    with rejects.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["place", "field", "value", "rule"],
            ["line 2", "mean_arm2", "NaN", "a number as 3.5"],
        ]
    # Line 3 is of the same study: it registers it now.
    assert len(gateway.stored) == 13 - 3


def test_rejects_never_overwrite_the_file(home: Path, gateway: FakeGateway, tmp_path: Path) -> None:
    command = changed(tmp_path, "12.9", "NaN")
    before = Path(command[1]).read_bytes()
    assert run(gateway, *command, "--rejects", command[1]).exit_code == 1
    assert Path(command[1]).read_bytes() == before


def test_many_errors_are_counted_and_the_first_are_shown(
    home: Path, gateway: FakeGateway, tmp_path: Path
) -> None:
    path = tmp_path / "export.csv"
    lines = (EXAMPLES / "redcap.csv").read_text().splitlines()
    path.write_text("\n".join([lines[0], *("?" + line for line in lines[1:])]))
    result = run(gateway, "redcap", str(path), *PEOPLE[2:])
    assert result.stderr.count("export.csv, line") == 20
    assert "and 82 more" in result.stderr
    assert "Rows that are wrong: 34" in result.stderr


def test_a_corrected_value_is_accepted_beside_the_first(
    home: Path, gateway: FakeGateway, tmp_path: Path
) -> None:
    run(gateway, *STUDIES)
    result = run(gateway, *changed(tmp_path, "12.9", "12.8"))
    assert f"{1:>9}  accepted" in result.stdout and f"{12:>9}  known already" in result.stdout
    back = run(gateway, *STUDIES)
    assert f"{13:>9}  known already" in back.stdout
    assert f"{13:>9}  accepted" in run(gateway, *STUDIES, "--revision", "2").stdout


def test_what_the_gateway_refuses_is_shown_without_its_value(
    home: Path, gateway: FakeGateway, tmp_path: Path
) -> None:
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text((EXAMPLES / "redcap.yaml").read_text().replace("prefix: example-", "prefix: wrong-"))
    result = run(gateway, *PEOPLE[:3], str(mapping))
    assert result.exit_code == 1 and f"{102:>9}  refused" in result.stdout
    assert "participant_ref: should be an opaque reference" in result.stderr
    assert "wrong-1" not in result.output


def test_a_key_may_be_in_a_file(home: Path, gateway: FakeGateway, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    assert run(gateway, *RESPONSES, "--key-file", str(tmp_path / "key"), key="").exit_code == 0
    assert gateway.keys == {f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("arguments", "key", "words"),
    [
        ((), "", "There is no key."),
        (("--address", "gateway.example.org:443"), KEY, "Options for it: --tls"),
        (("--time-zone", "Mars/Olympus"), KEY, "not a time zone"),
        (("--time-zone", "../etc/passwd"), KEY, "not a time zone"),
        (("--items", "x"), KEY, "LINKID=INSTRUMENT"),
    ],
)
def test_what_a_person_can_act_on_is_said(
    home: Path, gateway: FakeGateway, arguments: tuple[str, ...], key: str, words: str
) -> None:
    result = run(gateway, *RESPONSES, *arguments, key=key)
    assert result.exit_code != 0 and words in result.output and not gateway.received


def test_a_key_that_is_not_valid_is_said(home: Path, gateway: FakeGateway) -> None:
    gateway.script.append(fail(grpc.StatusCode.UNAUTHENTICATED, "not valid"))
    result = run(gateway, *RESPONSES)
    assert result.exit_code == 1 and "not valid" in result.stderr


def test_a_file_that_cannot_be_read_is_said(home: Path, gateway: FakeGateway, tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_text('{\n"resourceType": "Bundle", "entry": [')
    result = run(gateway, "fhir", str(tmp_path / "cut.json"))
    assert result.exit_code == 1 and "cut.json is not JSON" in result.stderr
