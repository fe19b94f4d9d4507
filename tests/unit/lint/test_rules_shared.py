"""Rules for files that recipes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.lint.run import lint
from tests.unit.lint.examples import CPU, GOOD_HEADER, recipe, write

if TYPE_CHECKING:
    from pathlib import Path

SHARES = GOOD_HEADER + "share: git/fetch.sh\n"
TAKES = "COPY .jetson/shared/git/fetch.sh /tmp/\nRUN bash /tmp/fetch.sh\n"

pytestmark = pytest.mark.usefixtures("all_programs_are_there")


@pytest.mark.parametrize(
    ("header_text", "body", "rules"),
    [
        (SHARES, TAKES, []),
        (SHARES, "RUN hello\n", ["share-unused"]),
        (SHARES.replace("fetch", "absent"), TAKES.replace("fetch", "absent"), ["recipe-broken", "share-missing"]),
        (SHARES.replace("test: test.sh", "test: .jetson/shared/git/fetch.sh"), "RUN hello\n", []),
        (GOOD_HEADER, TAKES, ["recipe-broken"]),
    ],
)
def test_share_rules_find_entries_that_are_missing_or_not_taken(
    tmp_path: Path, header_text: str, body: str, rules: list[str]
) -> None:
    """Entries of `share` that are missing or that nothing takes are found."""
    write(tmp_path, "pkg", {"Dockerfile": recipe(body, header_text), "test.sh": "set -e\nhello\n"})
    write(tmp_path, "user", {"Dockerfile": recipe(TAKES, SHARES).replace("pkg", "user"), "test.sh": "hello\n"})
    fetch = tmp_path / "shared/git/fetch.sh"
    fetch.parent.mkdir(parents=True)
    fetch.write_text("set -e\nhello\n")
    found = lint([tmp_path], ["pkg"], targets=CPU, shellcheck=False).findings
    assert sorted(item.rule for item in found) == rules


def test_share_unused_finds_files_that_no_recipe_names(tmp_path: Path) -> None:
    """Shared files that no recipe names are found."""
    write(tmp_path, "pkg", {"Dockerfile": recipe(TAKES, SHARES), "test.sh": "set -e\nhello\n"})
    for name in ("git/fetch.sh", "git/left.sh"):
        (tmp_path / "shared" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "shared" / name).write_text("hello\n")
    found = lint([tmp_path], targets=CPU, shellcheck=False).findings
    assert [(item.rule, item.file.name) for item in found] == [("share-unused", "left.sh")]


def test_shared_script_is_judged_as_that_of_the_recipe(tmp_path: Path) -> None:
    """A shared script is judged as the recipe's own."""
    write(tmp_path, "pkg", {"Dockerfile": recipe(TAKES, SHARES), "test.sh": "set -e\nhello\n"})
    fetch = tmp_path / "shared/git/fetch.sh"
    fetch.parent.mkdir(parents=True)
    fetch.write_text("set -e\ngit clone https://x.org/a\n")
    found = lint([tmp_path], targets=CPU, shellcheck=False).findings
    assert [(item.rule, item.file) for item in found] == [("git-unpinned", fetch)]
