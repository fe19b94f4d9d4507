"""Suggested commands: what is in backticks can be pasted, whatever names and paths hold."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jetson_containers.autotag import search
from jetson_containers.autotag.ranking import ImageChoice
from jetson_containers.core import diagnosis, docker_login, errors, files
from jetson_containers.core.errors import JetsonError, RecipeError, RegistryError, UnsatisfiableError
from jetson_containers.dockerfile import inject
from jetson_containers.hub import cache
from jetson_containers.llm import stored
from jetson_containers.recipes import catalog, tree
from jetson_containers.recipes.catalog import Catalog
from jetson_containers.resolver.solve import solve
from tests.unit.treemaker import ORIN, package

if TYPE_CHECKING:
    from collections.abc import Callable

BAD = 'it\'s a "bad" name; $(touch x) >y'  # what a path may be called
OWN = '"$(id -u):$(id -g)"'


def commands_in(text: str | None) -> list[list[str]]:
    """What stands in backticks, split as a shell does."""
    return [shlex.split(quoted) for quoted in re.findall(r"`([^`]*)`", text or "")]


def hint_of(act: Callable[[], object]) -> str | None:
    with pytest.raises(JetsonError) as caught:
        act()
    return caught.value.hint


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("./build.sh", "numpy:1.26.4"), "`./build.sh numpy:1.26.4`"),
        (("./build.sh", "numpy>=2"), "`./build.sh 'numpy>=2'`"),
        (("rm", Path("/a b")), "`rm '/a b'`"),
        (("x", ""), "`x ''`"),
    ],
)
def test_command_quotes_where_a_shell_needs_it(words: tuple[object, ...], shown: str) -> None:
    """A command is quoted where a shell needs it."""
    assert errors.command(*words) == shown


def test_conflict_suggests_each_command_once_and_quoted() -> None:
    """The input of first-use.md 9: pasted, it built `numpy` and left a file `=2`."""
    numpy = [package(f"numpy:{version}", default=version == "2.2") for version in ("1.26.4", "2.0", "2.2")]
    found = Catalog(platform=ORIN, available={one.name: one for one in numpy}, absent={})
    with pytest.raises(UnsatisfiableError) as caught:
        solve(found, ["numpy:1.26.4", "numpy>=2"])
    ways = [line.partition(". ")[2] for line in caught.value.details if line[:1].isdigit()]
    assert len(ways) == len(set(ways))
    suggested = [words for line in ways for words in commands_in(line)]
    assert ["./build.sh", "numpy>=2"] in suggested
    assert all("'numpy>=2'" in line for line in ways if ">=" in line)


def test_autotag_refusal_quotes_the_request() -> None:
    """Autotag refusal quotes the request."""
    request = ("numpy>=2", "torch<3")
    hint = search.refusal(ImageChoice(request=request, platform=ORIN)).hint
    assert commands_in(hint) == [["./build.sh", *request], ["./autotag", "-y", *request]]


def test_why_hint_quotes_the_name() -> None:
    """Why hint quotes the name."""
    assert commands_in(catalog._why(BAD)) == [["jetson-containers", "why", BAD]]


def test_directory_hint_quotes_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directory hint quotes the directory."""
    (tmp_path / BAD).mkdir()
    monkeypatch.chdir(tmp_path)
    hint = tree.directory_hint(BAD) or ""
    assert errors.command(f"--package-dirs={BAD}") in hint


def test_owner_hints_quote_the_path() -> None:
    """Owner hints quote the path."""
    path = Path("/data") / BAD
    own = f"sudo chown -R {OWN} {shlex.quote(str(path))}"
    assert own in str(cache._belongs_to_root(path).hint)
    assert own in files._write_hint(PermissionError(13, "denied", str(path / "file")))


def test_rm_of_foreign_files_quotes_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that removes files of another user quotes the path."""
    output = tmp_path / BAD / "model.gguf"
    one = stored.Stored(
        kind="artefact", model="m", runtime="r", quantization="q", step="s", path=str(output), size=1
    )  # fmt: skip

    def denied(_output: Path) -> None:
        raise PermissionError(13, "denied", str(output))

    monkeypatch.setattr(stored, "_manifests_of", denied)
    assert errors.command("sudo", "rm", "-r", output) in str(hint_of(lambda: stored.remove(one, tmp_path)))


def test_docker_login_hint_quotes_the_host() -> None:
    """Docker login hint quotes the host."""
    host = "registry;reboot:5000"
    hint = hint_of(lambda: docker_login._decode({"auth": "%"}, host))
    assert commands_in(hint) == [["docker", "login", host]]
    assert isinstance(RegistryError("x", hint=hint), JetsonError)


def test_build_flags_hint_is_one_word_for_the_shell() -> None:
    """Build flags hint is one word for the shell."""
    text = "FROM x\nRUN --security=insecure make\n"
    with pytest.raises(RecipeError) as caught:
        inject.check_rights(text, Path("Dockerfile"), ())
    assert commands_in(caught.value.hint) == [["--build-flags", "--allow security.insecure"]]


def test_diagnosis_quotes_what_a_log_says_in_a_remedy() -> None:
    """Diagnosis quotes what a log says in a remedy."""
    finding = diagnosis.diagnose(["argument --output/-o: Directory does not exist: dist/$(reboot);x"], model=True)
    assert finding is not None
    assert commands_in(finding.remedy)[0] == ["mkdir", "-p", "dist/$(reboot);x"]
