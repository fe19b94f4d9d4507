"""The script that commands of a build read first, run by a real shell with programs of the test."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.dockerfile import inject, mirror_script

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"https://a.invalid/": "https://m.invalid/a/", "https://a.invalid/deep/": "https://m.invalid/deep/"}


class Shell:
    """A shell whose /dev, / and programs are folders of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = folder / "laid"
        self.programs = folder / "bin"
        self.programs.mkdir()
        (folder / "methods").mkdir()
        (folder / "root").mkdir()

    def program(self, name: str, text: str) -> None:
        """Put a program on PATH, or a method of apt below `methods/`."""
        file = self.folder / name if "/" in name else self.programs / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)

    def run(self, found: dict[str, Any], command: str, ca_bundle: str = "", **env: str) -> str:
        """What a command prints after the script."""
        text = mirror_script.script(found, ca_bundle).replace(mirror_script.PLACE, str(self.place))
        text = text.replace(mirror_script.CA_PLACE, f"{self.folder}/ca").replace("/dev/shm", f"{self.folder}/shm")
        text = text.replace("/.cargo", f"{self.folder}/root/.cargo").replace("-w / ]", f"-w {self.folder}/root ]")
        text = text.replace("/usr/local/bin /usr/bin /bin;", f"{self.programs};")
        text = text.replace("/usr/lib/apt/methods", f"{self.folder}/methods")
        (self.folder / "script").write_text(text)
        environment = {"PATH": f"{self.programs}:/usr/bin:/bin", **env}
        argv = ["sh", "-eu", "-c", f". {self.folder}/script; {command}"]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell with a curl that prints its words."""
    made = Shell(tmp_path)
    made.program("curl", 'echo real "$@"')
    return made


@pytest.mark.parametrize("lies_elsewhere", [False, True])
def test_script_rewrites_the_longest_beginning(shell: Shell, lies_elsewhere: bool) -> None:
    """curl is given other addresses; words that begin otherwise stay, blanks too, for root and for other users."""
    if lies_elsewhere:
        shell.place.write_text("a file, so no folder can be made: as for a user who is not root")
    shown = shell.run(
        {"files": FILES}, "curl -o 'a  b' https://a.invalid/x https://a.invalid/deep/y https://b.invalid/"
    )
    assert shown == "real -o a  b https://m.invalid/a/x https://m.invalid/deep/y https://b.invalid/\n"


def test_script_lays_no_program_that_is_absent(shell: Shell) -> None:
    """A recipe that asks whether wget is there is told the truth, also after its installation."""
    link = f"{shell.place}/link"
    asked = f"ls {shell.place}; cp {shell.programs}/curl {shell.programs}/wget; {link}; wget https://a.invalid/x"
    shown = shell.run({"files": FILES}, asked).splitlines()
    assert "wget" not in shown[:-1]
    assert shown[-1] == "real https://m.invalid/a/x"


def test_script_answers_apt_with_a_redirection(shell: Shell) -> None:
    """A request for an address with a mirror is redirected; everything else reaches the real method unchanged."""
    shell.program("methods/http", 'echo "100 Capabilities"; echo; sed "s/^/to method: /"')
    told = "601 Configuration\nConfig-Item: a\n\n600 URI Acquire\nURI: http://a.invalid/x\nFilename: /f\n\n"
    told += "600 URI Acquire\nURI: http://b.invalid/y\n\n"
    (shell.folder / "told").write_text(told)
    command = f"{shell.place}/http <{shell.folder}/told; cat $APT_CONFIG"
    shown = shell.run({"apt": {"http://a.invalid/": "http://m.invalid/"}}, command)
    assert "103 Redirect\nURI: http://a.invalid/x\nNew-URI: http://m.invalid/x\n\n" in shown
    assert "to method: URI: http://b.invalid/y\n" in shown
    assert "to method: URI: http://a.invalid/x" not in shown
    assert f'Dir::Bin::Methods::https "{shell.place}/https";' in shown


def test_script_variables_give_way_to_a_recipes_own(shell: Shell) -> None:
    """The index of a recipe stays; where it has none, the mirror's is used."""
    found = {"python": "http://m.invalid/simple", "npm": "http://m.invalid/npm/", "hub": "http://m.invalid/hub"}
    shown = 'echo "$PIP_INDEX_URL" "$PIP_TRUSTED_HOST" "$npm_config_registry" "$HF_ENDPOINT"'
    assert shell.run(found, shown, PIP_INDEX_URL="http://own/") == (
        "http://own/ m.invalid http://m.invalid/npm/ http://m.invalid/hub\n"
    )


def test_script_replaces_the_source_of_crates_while_the_command_runs(shell: Shell) -> None:
    """The file is there for the command, and gone afterwards; a command with a trap of its own is left alone."""
    file = f"{shell.folder}/root/.cargo/config.toml"
    found = {"crates": "sparse+http://m.invalid/"}
    assert 'registry = "sparse+http://m.invalid/"' in shell.run(found, f"cat {file}")
    assert not (shell.folder / "root/.cargo").exists()
    assert shell.run(found, f"ls {file} || echo none", jetson_own_trap="1") == "none\n"


def test_script_of_registries_alone_is_empty() -> None:
    """Where images are pulled from concerns no command of a build."""
    assert mirror_script.script({"registries": {"docker.io": "m.invalid"}}) == ""


CERTIFICATES = "# the company's\n-----BEGIN CERTIFICATE-----\n$HOME `id` \\\\\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("lies_elsewhere", [False, True])
def test_script_certificates_are_a_file_that_programs_are_led_to(shell: Shell, lies_elsewhere: bool) -> None:
    """Every byte is there, readable by all; wget and apt are given files that name it; for other users too."""
    place = shell.folder / "ca"
    if lies_elsewhere:
        place.write_text("a file, so no folder can be made: as for a user who is not root")
        place = shell.folder / "shm/jetson-ca"
    shown = shell.run({}, 'umask; cat "$PIP_CERT"; echo "$SSL_CERT_FILE"; cat "$WGETRC" "$APT_CONFIG"', CERTIFICATES)
    file = f"{place}/ca.crt"
    told = f'{file}\nca_certificate = {file}\nAcquire::https::CAInfo "{file}";\n'
    assert shown.partition("\n")[2] == f"{CERTIFICATES}{told}"
    assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {0o644}


def test_script_certificates_and_mirrors_of_apt_share_one_configuration(shell: Shell) -> None:
    """apt reads one file: what redirects it and what it trusts stand in that."""
    shown = shell.run({"apt": {"http://a.invalid/": "http://m.invalid/"}}, 'cat "$APT_CONFIG"', CERTIFICATES)
    assert f'Dir::Bin::Methods::https "{shell.place}/https";' in shown
    assert f'Acquire::https::CAInfo "{shell.folder}/ca/ca.crt";' in shown


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (
            (
                "#5 [2/3] RUN --mount=type=secret,id=jetson_mirrors,target=/dev/jetson/mirrors.sh,mode=0444 "
                "jetson_own_trap=1; . /dev/jetson/mirrors.sh; trap x EXIT"
            ),
            "#5 [2/3] RUN trap x EXIT",
        ),
        ("RUN /bin/sh -c . /dev/jetson/mirrors.sh; make # buildkit", "RUN /bin/sh -c make # buildkit"),
        ("RUN --mount=type=secret,id=other make", "RUN --mount=type=secret,id=other make"),
    ],
)
def test_script_is_not_shown(printed: str, shown: str) -> None:
    """A line of a builder, or of a history, is shown as the recipe has it."""
    assert inject.without_script(printed) == shown
