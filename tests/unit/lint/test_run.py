"""What `lint` finds, and what it leaves alone: for each rule a recipe that breaks it and one that does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from jetson_containers.cli import main
from jetson_containers.core.errors import NothingMatchedError
from jetson_containers.lint.findings import RULES, suppressions
from jetson_containers.lint.run import lint
from tests.paths import ROOT_DIR
from tests.unit.lint.examples import (
    CPU,
    FROM,
    GOOD_HEADER,
    HEADERS,
    INSTRUCTIONS,
    RUNS,
    header,
    of_dockerfile,
    recipe,
    rules_of,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("all_programs_are_there")


def test_rules_without_own_tests_are_in_a_table() -> None:
    """Every rule but those with tests of their own is in a table."""
    own = {"apt-absent", "two-defaults", "layers", "shellcheck", "context-size", "suppression", "suppression-unused"}
    own |= {"share-missing", "share-unused", "command-missing"}
    assert {row[0] for row in (*RUNS, *INSTRUCTIONS, *HEADERS)} == set(RULES) - own


def test_name_defined_by_two_directories_is_found(tmp_path: Path) -> None:
    """A name that two directories define is found."""
    for name in ("one", "two"):
        write(tmp_path, name, {"Dockerfile": recipe(), "test.sh": "hello\n"})
    found = lint([tmp_path], targets=CPU, shellcheck=False).findings
    assert [(item.rule, item.file.parent.name) for item in found] == [("name-duplicate", "two")]


class TestScripts:
    """Scripts are judged as part of the RUN that starts them; others only for failures and TLS."""

    def test_script_is_judged_where_it_is_run(self, tmp_path: Path) -> None:
        """A script is judged where it is run."""
        body = "COPY install.sh /tmp/\nRUN bash /tmp/install.sh\n"
        install = "set -e\n\ncurl -fo a https://x.org/a\n"
        write(tmp_path, "pkg", {"Dockerfile": recipe(body), "install.sh": install, "test.sh": "hello\n"})
        found = lint([tmp_path], targets=CPU, shellcheck=False).findings
        assert [(item.rule, item.file.name, item.line) for item in found] == [("download-unchecked", "install.sh", 3)]

    def test_script_rules_count_what_follows_in_the_run(self, tmp_path: Path) -> None:
        """What follows the script in the RUN counts."""
        run = "RUN . /tmp/install.sh && sha256sum -c sums\n"
        assert of_dockerfile(tmp_path, recipe(run), install_sh="curl -fo a https://x.org/a\n") == []

    def test_script_heredoc_with_a_program_is_judged(self, tmp_path: Path) -> None:
        """A program in a here-document is judged."""
        script = "python3 - <<'END'\nfrom urllib.request import urlretrieve\nurlretrieve('https://x.org/a', 'a')\nEND\n"
        assert of_dockerfile(tmp_path, recipe("RUN bash a.sh\n"), a_sh=script) == ["download-unchecked"]

    def test_script_sourced_file_is_followed(self, tmp_path: Path) -> None:
        """A sourced file is followed."""
        files = {"install_sh": ". lib.sh\n", "lib_sh": "pip install --no-cache-dir numpy\n"}
        assert of_dockerfile(tmp_path, recipe("RUN sh /tmp/install.sh\n"), **files) == ["pip-unpinned"]

    def test_script_that_starts_itself_is_read_once(self, tmp_path: Path) -> None:
        """A script that starts itself is read once."""
        assert of_dockerfile(tmp_path, recipe("RUN bash a.sh\n"), a_sh="bash a.sh\n") == []

    def test_script_may_fetch_but_not_hide_failures(self, tmp_path: Path) -> None:
        """A test may fetch but not hide failures."""
        write(tmp_path, "pkg", {"Dockerfile": recipe(), "test.sh": "pip install numpy || true\n"})
        assert rules_of(tmp_path) == ["hidden-failure"]

    def test_compile_part_may_leave_caches_behind(self, tmp_path: Path) -> None:
        """What a compile part leaves behind is thrown away."""
        build = FROM + "RUN apt-get update && pip install a==1\n"
        text = recipe(header=GOOD_HEADER + "artifacts: Dockerfile.build\n")
        assert of_dockerfile(tmp_path, text, Dockerfile_build=build) == []

    def test_pip_cache_turned_off_by_a_base_is_enough(self, tmp_path: Path) -> None:
        """A base that turns pip's cache off is enough."""
        files = {"Dockerfile": recipe("ENV PIP_NO_CACHE_DIR=1\n").replace("name: pkg", "name: py"), "test.sh": "a\n"}
        write(tmp_path, "py", files)
        text = recipe("RUN pip install a==1\n", GOOD_HEADER + "depends: [py]\n")
        assert of_dockerfile(tmp_path, text) == []

    def test_requirements_file_of_the_context_is_read(self, tmp_path: Path) -> None:
        """Requirements of the context are read."""
        run = "RUN pip install --no-cache-dir -r /tmp/{}.txt\n"
        good, bad = "# all\na==1 \\\n  --hash=sha256:1\n", "a==1\nb\n"
        files = {"good_txt": good, "bad_txt": bad}
        assert of_dockerfile(tmp_path / "1", recipe(run.format("good")), **files) == []
        assert of_dockerfile(tmp_path / "2", recipe(run.format("bad")), **files) == ["pip-unpinned"]

    def test_template_is_judged_as_it_is_rendered(self, tmp_path: Path) -> None:
        """A template is judged as it is rendered."""
        text = recipe("{% if arch %}\nRUN make || true\n{% endif %}\n", GOOD_HEADER)
        write(tmp_path, "pkg", {"Dockerfile.j2": text, "test.sh": "hello\n"})
        assert rules_of(tmp_path) == ["hidden-failure"]


class TestSuppression:
    """`# lint: RULE reason` declines one rule at one place."""

    @pytest.mark.parametrize(
        "body",
        [
            "# lint: hidden-failure the log is optional\nRUN make || true\n",
            "# lint: hidden-failure the log is optional\n# and so on\nRUN make || true\n",
            "# lint: hidden-failure the log is optional\nRUN hello \\\n && make || true\n",
            "RUN hello \\\n # lint: hidden-failure the log is optional\n && make || true\n",
        ],
        ids=["above", "above with more comments", "above its RUN", "inside"],
    )
    def test_suppression_in_a_dockerfile(self, tmp_path: Path, body: str) -> None:
        """A comment in a Dockerfile suppresses a finding."""
        assert of_dockerfile(tmp_path, recipe(body)) == []

    @pytest.mark.parametrize(
        "script", ["make || true # lint: hidden-failure optional\n", "# lint: hidden-failure optional\nmake || true\n"]
    )
    def test_suppression_in_a_script(self, tmp_path: Path, script: str) -> None:
        """A comment in a script suppresses a finding."""
        assert of_dockerfile(tmp_path, recipe("RUN bash a.sh\n"), a_sh=script) == []

    def test_suppression_at_the_run_covers_the_script(self, tmp_path: Path) -> None:
        """A comment at the RUN that starts a script covers the script."""
        body = "# lint: hidden-failure the log is optional\nRUN bash a.sh\n"
        assert of_dockerfile(tmp_path, recipe(body), a_sh="hello\nmake || true\n") == []

    def test_suppression_in_a_config(self, tmp_path: Path) -> None:
        """A comment in a config.yaml suppresses a finding."""
        config = (
            "versions:\n# lint: source-unpinned the vendor publishes no checksum\n- version: '1'\n  source: {url: a}\n"
        )
        assert of_dockerfile(tmp_path, recipe(), config_yaml=config) == []

    def test_suppression_reaches_one_instruction(self, tmp_path: Path) -> None:
        """A comment reaches one instruction and no further."""
        body = "# lint: hidden-failure the log is optional\nRUN make || true\nRUN make || true\n"
        assert of_dockerfile(tmp_path, recipe(body)) == ["hidden-failure"]

    @pytest.mark.parametrize(
        ("comment", "expected"),
        [
            ("hidden-failure", ["hidden-failure", "suppression"]),
            ("no-such-rule because", ["hidden-failure", "suppression"]),
            ("recipe-broken because", ["hidden-failure", "suppression"]),
            ("tls-off because", ["hidden-failure", "suppression-unused"]),
        ],
        ids=["no reason", "unknown rule", "cannot be declined", "declines nothing"],
    )
    def test_suppression_without_reason_rule_or_effect_is_found(
        self, tmp_path: Path, comment: str, expected: list[str]
    ) -> None:
        """A comment that does not do its job is found."""
        assert sorted(of_dockerfile(tmp_path, recipe(f"# lint: {comment}\nRUN make || true\n"))) == expected

    def test_suppressions_are_not_read_from_other_comments(self) -> None:
        """Other comments are not suppressions."""
        assert suppressions("# linting is good\n# lint tls-off\nlint: x\n") == ()


class TestCommand:
    """`jetson-containers lint` as users meet it."""

    @staticmethod
    def run(tree: Path, *arguments: str) -> int:
        return main.main(["lint", "--packages", str(tree), "--no-shellcheck", "--target", "x86_64,cpu", *arguments])

    def test_lint_command_exits_1_for_an_error_and_says_what_to_do(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """An error exits 1 and says what to do."""
        write(tmp_path, "pkg", {"Dockerfile": recipe("RUN make || true\n"), "test.sh": "hello\n"})
        assert self.run(tmp_path) == 1
        captured = capsys.readouterr()
        assert "Dockerfile:10: error hidden-failure: `|| true` turns a failure into success" in captured.out
        assert "→ let it fail" in captured.out
        assert captured.err.endswith("1 error, 0 warnings in 1 package\n")

    def test_lint_command_exits_0_for_a_warning(self, tmp_path: Path) -> None:
        """A warning alone exits 0."""
        write(tmp_path, "pkg", {"Dockerfile": recipe(header=header(license="")), "test.sh": "hello\n"})
        assert self.run(tmp_path) == 0

    def test_lint_command_prints_json(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The findings are printed as JSON."""
        folder = write(tmp_path, "pkg", {"Dockerfile": recipe("COPY . /a\n"), "test.sh": "hello\n"})
        assert self.run(tmp_path, "--json") == 1
        found = json.loads(capsys.readouterr().out)
        assert [list(row) for row in found] == [["file", "line", "rule", "severity", "message", "remedy"]]
        assert (found[0]["file"], found[0]["line"], found[0]["rule"]) == (str(folder / "Dockerfile"), 10, "copy-all")

    @pytest.mark.parametrize("pattern", ["pkg", "p*", "group/pkg", "folder"])
    def test_lint_command_takes_patterns(
        self, tmp_path: Path, pattern: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A pattern selects packages."""
        write(tmp_path, "folder" if pattern == "folder" else "pkg", {"Dockerfile": recipe(), "test.sh": "hello\n"})
        files = {"Dockerfile": recipe("COPY . /a\n").replace("name: pkg", "name: other"), "test.sh": "a\n"}
        write(tmp_path, "other", files)
        assert self.run(tmp_path, pattern) == 0

    def test_lint_command_refuses_a_pattern_that_matches_nothing(self, tmp_path: Path) -> None:
        """A pattern that matches nothing is an error."""
        write(tmp_path, "pkg", {"Dockerfile": recipe(), "test.sh": "hello\n"})
        with pytest.raises(NothingMatchedError, match="`nowhere`"):
            lint([tmp_path], ["nowhere"], targets=CPU)
        assert self.run(tmp_path, "nowhere") == 3

    def test_lint_command_lists_its_rules(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The rules are listed."""
        assert main.main(["lint", "--rules"]) == 0
        listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
        assert listed == list(RULES)


@pytest.mark.long
def test_lint_of_the_shipped_tree_finds_nothing() -> None:
    """The tree of this project has no finding."""
    report = lint([ROOT_DIR / "packages"])
    found = [f"{item.file}:{item.line}: {item.rule}: {item.message}" for item in report.findings]
    assert found == []
