"""Generated and hand-written docs agree with the program."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import Any

import click
import pytest

from jetson_containers.cli import main
from jetson_containers.launch import options
from jetson_containers.recipes import schema, templating
from tests.paths import ROOT_DIR

ROOT = ROOT_DIR
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "packages/**/README.md", "data/**/README.md")
    for page in ROOT.glob(pattern)
    if page.name not in {"cli.md", "CHANGELOG.md"}  # the first is generated from the commands
)
LAUNCHERS = {"./build.sh": ["build"], "./autotag": ["autotag"], "./run.sh": ["run"], "jetson-containers": []}
# A command of ours at the beginning of a line, of a substitution, of inline code, or after another command.
COMMAND = re.compile(
    rf"(?:^ *|`|\$\(|&& |; |\| )({'|'.join(map(re.escape, LAUNCHERS))}) ([^`\n]*)",
    re.MULTILINE,
)
# Lines of upstream's documentation that are refused, as tools/documented_lines.py writes them.
UPSTREAM = re.compile(r"<!-- written by tools/documented_lines\.py -->.*?<!-- end -->", re.DOTALL)
PLACEHOLDERS = {"hello", "my-tool", "lidar", "…", "..."}  # of packages, besides words in capitals


def test_cli_reference_is_current() -> None:
    """The CLI reference is current."""
    done = subprocess.run([sys.executable, "tools/cli_reference.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run .venv/bin/python tools/cli_reference.py"


def test_settings_page_is_current() -> None:
    """The page of settings is generated from their declarations."""
    done = subprocess.run([sys.executable, "tools/settings_page.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run .venv/bin/python tools/settings_page.py"


def test_docs_name_only_links_and_files_that_exist() -> None:
    """Links and files named in the docs exist."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_recipe_page_names_each_key_and_template_variable() -> None:
    """The page about recipes names every key and template variable."""
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_0-9]+)`", page))
    keys = {*schema.HEADER_KEYS, *schema.VERSION_KEYS} - {"aliases"}  # upstream's `alias` is the one we write
    assert sorted(keys - named) == []
    assert sorted(set(templating.VARIABLES) - named) == []


def test_readme_names_the_two_commands_first() -> None:
    """The README names the two commands first."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\./\S+\.sh$", readme, flags=re.MULTILINE)
    assert commands[:2] == ["./quickstart.sh", "./test.sh"]


def test_requirements_are_those_of_pyproject() -> None:
    """The requirements are those of pyproject.toml."""
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'dependencies = { file = ["requirements.txt"] }' in pyproject
    assert 'dev = { file = ["requirements-dev.txt"] }' in pyproject


def test_data_has_the_folders_users_know_with_contents_untracked() -> None:
    """data/ has the folders users know, and their contents are never tracked."""
    listed = subprocess.run(["git", "ls-files", "data"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folders = {"models", "datasets", "prompts", "images", "logs", "benchmarks"}
    assert {f"data/{name}/.gitkeep" for name in folders} <= set(listed.split())
    ignored = subprocess.run(
        ["git", "check-ignore", "data/models/x/model.safetensors", "data/logs/a.txt"], cwd=ROOT, check=False
    )
    assert ignored.returncode == 0


def documented() -> list[tuple[str, list[str]]]:
    """Every command of ours in the docs: page and arguments, each once."""
    found: dict[tuple[str, ...], str] = {}
    for page in PAGES:
        text = UPSTREAM.sub("", page.read_text(encoding="utf-8")).replace("\\\n", " ")
        for start, rest in COMMAND.findall(text):
            found.setdefault((*LAUNCHERS[start], *words(rest)), str(page.relative_to(ROOT)))
    return [(page, list(arguments)) for arguments, page in found.items()]


def words(line: str) -> list[str]:
    """The words of a shell command up to its end; a substitution is one word, optional parts are left out."""
    line = re.sub(r" \[[^]]*\]|<[a-z]+>", " ", line)
    line = re.sub(r"\$\([^()]*\)", "SUBSTITUTED", line)
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|)")
    lexer.whitespace_split = True
    found: list[str] = []
    try:
        for word in lexer:
            if word[0] in ";&|)":
                break
            found.append(word)
    except ValueError:
        pass  # a quotation that ends on a later line belongs to the program in the container
    return found


def parsed(arguments: list[str]) -> tuple[str, dict[str, Any]]:
    """The command and the parameters a line means; nothing is run. Raises click.UsageError."""
    name, command = "", main.cli
    while isinstance(command, click.Group):
        name, *arguments = arguments
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"no command `{name}`"
        command = found  # type: ignore[assignment]
    if not arguments:
        return name, {}  # the command's name, where a sentence speaks of it
    return name, command.make_context(name, arguments).params


@pytest.mark.parametrize(("page", "arguments"), [pytest.param(*each, id=" ".join(each[1])) for each in documented()])
def test_documented_commands_are_accepted(page: str, arguments: list[str]) -> None:
    """Every documented command is accepted."""
    name, given = parsed(arguments)
    if name == "run" and given:
        assert options.parse(list(given["arguments"])).image, page
    named = given.get("packages", ()) if name in {"build", "autotag"} and not given.get("upstream") else ()
    for package in named:
        family = re.split("[:<>=!~]", package)[0]
        known = package in PLACEHOLDERS or package.isupper() or list(ROOT.glob(f"packages/*/{family}"))
        assert known, f"{page}: {package}"
