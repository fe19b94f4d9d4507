"""Adding to Dockerfiles what the engine can do, and reading what a build takes."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetson_containers.core.errors import NotReadyError, RecipeError, UsageError
from jetson_containers.dockerfile import inject
from jetson_containers.dockerfile.parser import parse
from tests.unit.dockerfile.helpers import GOLDEN, case

if TYPE_CHECKING:
    from jetson_containers.dockerfile.parser import Instruction


CASES = sorted(path.name for path in GOLDEN.iterdir())


ALL_FEATURES = {"ca_bundle": True, "wheelhouse": True, "index_url": True}


def check_golden(path: Path, text: str) -> None:
    """Compare with the golden copy; `UPDATE_GOLDEN=1 pytest …` writes it anew, for the diff to be read."""
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


class TestLayerCount:
    @pytest.mark.parametrize(
        ("text", "layers"),
        [
            ("FROM a", 0),
            ('FROM a\nENV A=b\nARG C\nLABEL d=e\nUSER f\nCMD g\nVOLUME /h\nEXPOSE 80\nSHELL ["sh"]', 0),
            ("FROM a\nRUN b\nCOPY c d\nADD e f\nWORKDIR /g", 4),
            ("FROM a AS x\nRUN b\nRUN c\nFROM d\nCOPY --from=x /e /e", 1),
            ("FROM a AS X\nRUN b\nRUN c\nFROM x AS y\nRUN d\nFROM y\nRUN e", 4),
            ("FROM a AS a\nRUN b\nFROM a\nRUN c", 2),
            ("FROM ubuntu AS ubuntu\nRUN b", 1),  # a stage may be named like its own base
            ("FROM a\nONBUILD RUN b", 0),
            ("FROM a\nRUN b \\\n && c \\\n && d", 1),
            ("FROM a\nRUN <<EOF\nRUN b\nRUN c\nEOF", 1),
        ],
    )
    def test_layer_count_counts_the_final_stage(self, text: str, layers: int) -> None:
        """The layers of the final stage are counted."""
        assert inject.layer_count(text) == layers


class TestCanonical:
    SAME = (
        "FROM a\nRUN b \\\n c\n",
        "#---\n# name: x\n#---\n\n# comment\nFROM a\n\nRUN b \\\n# comment\n c",
        "from a\r\nrun   b \\\r\n c\r\n",
    )

    @pytest.mark.parametrize("text", SAME)
    def test_canonical_ignores_comments_blank_lines_and_the_header(self, text: str) -> None:
        """Comments, blank lines and the header do not count."""
        assert inject.canonical(text) == [["FROM", "a"], ["RUN", "b  c"]]

    def test_canonical_keeps_the_comments_of_a_heredoc(self) -> None:
        """A heredoc counts with its comments."""
        assert inject.canonical("FROM a\nRUN <<E\n# x\n\nE")[1] == ["RUN", "<<E", "E", "# x\n\n"]

    def test_canonical_keeps_the_syntax_directive(self) -> None:
        """The syntax directive counts."""
        assert inject.canonical("# syntax=docker/dockerfile:1\nFROM a")[0] == ["#syntax", "docker/dockerfile:1"]


class TestRender:
    def test_render_fills_values_loops_and_lists(self) -> None:
        """Values, loops and lists are filled in."""
        text = "FROM {{ base }}\n{% for arch in sm %}\nENV SM_{{ arch }}=1\n{% endfor %}\nRUN x {{ sm | join(';') }}\n"
        assert inject.render(text, {"base": "a", "sm": [72, 87]}) == "FROM a\nENV SM_72=1\nENV SM_87=1\nRUN x 72;87\n"

    def test_render_sorts_sets_and_mappings(self) -> None:
        """Sets and mappings have one order."""
        text = "{{ s | join(' ') }} {{ m | join(' ') }}"
        assert inject.render(text, {"s": {"c", "a", "b"}, "m": {"z": {2, 1}, "y": 1}}) == "a b c y z"

    def test_render_keeps_the_syntax_of_the_shell(self) -> None:
        """The shell keeps its own syntax."""
        assert inject.render("RUN echo ${#list[@]} ${a#b} {## gone ##}{x}", {}) == "RUN echo ${#list[@]} ${a#b} {x}"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("FROM a\nRUN {{ cuda }}", "'cuda' is undefined"),
            ("FROM a\nRUN {% if %}", "Expected an expression"),
            ("FROM a\nRUN {{ ().__class__.__mro__ }}", "unsafe"),
            ("FROM a\nRUN {{ 1 / 0 }}", "division by zero"),
            ("FROM a\nRUN {{ [3, 1] | random }}", "No filter named 'random'"),
        ],
    )
    def test_render_errors_name_file_and_line(self, text: str, message: str) -> None:
        """Errors name file and line."""
        with pytest.raises(RecipeError, match=message) as caught:
            inject.render(text, {}, Path("p/Dockerfile.j2"))
        assert (caught.value.path, caught.value.line) == (Path("p/Dockerfile.j2"), 2)


class TestRenderArtifact:
    def test_render_artifact_keeps_the_artifacts_of_the_last_stage(self) -> None:
        """Only the artifacts of the last stage are kept."""
        text = "ARG BASE_IMAGE\nFROM a AS one\nRUN b\nFROM ${BASE_IMAGE} \\\n  AS two\nRUN make\n"
        assert inject.render_artifact(text) == text + "\nFROM scratch\nCOPY --from=two /artifacts /artifacts\n"

    def test_render_artifact_names_an_unnamed_last_stage(self) -> None:
        """A last stage without a name gets one."""
        found = inject.render_artifact("FROM a\nRUN make")
        name = "jetson-artifacts"
        tail = f"FROM scratch\nCOPY --from={name} /artifacts /artifacts\n"
        assert found == f"FROM a AS {name}\nRUN make\n\n{tail}"

    def test_render_artifact_leaves_one_layer(self) -> None:
        """One layer remains."""
        assert inject.layer_count(inject.render_artifact(case("plain"))) == 1


class TestDeclaredArgs:
    def test_declared_args_of_every_stage(self) -> None:
        """The arguments of every stage are found."""
        text = 'ARG A\nARG B=1 C="x y"\nFROM ${A}\nARG D\n# ARG E\nRUN echo ARG F\n'
        assert inject.declared_args(text) == {"A", "B", "C", "D"}


class TestBuildArgs:
    def test_build_args_with_mounts_are_paths_below_dev(self) -> None:
        """With mounts everything is a path below /dev."""
        found = inject.build_args_for(mounts=True, ca_bundle=True, wheelhouse=True)
        assert set(found) == {*inject.CA_VARIABLES, *inject.CA_FILES, "PIP_FIND_LINKS"}
        assert {found[name] for name in inject.CA_VARIABLES} == {inject.CA_TARGET}
        assert found["PIP_FIND_LINKS"] == inject.WHEELS_TARGET
        assert all(value.startswith("/dev/") for value in found.values())

    def test_build_args_without_mounts_give_wheels_by_url(self) -> None:
        """Without mounts wheels come from a URL."""
        found = inject.build_args_for(mounts=False, ca_bundle=True, wheelhouse="http://127.0.0.1:9/")
        assert found["PIP_FIND_LINKS"] == "http://127.0.0.1:9/"
        assert found["SSL_CERT_FILE"] == inject.CA_COPY_TARGET

    def test_build_args_are_empty_without_options(self) -> None:
        """Without options there are no build arguments."""
        assert inject.build_args_for(mounts=True) == {}

    @pytest.mark.parametrize("url", ["https://user:secret@host/simple", "https://token@host/simple"])
    def test_build_args_refuse_credentials_without_showing_them(self, url: str) -> None:
        """Credentials are refused without being repeated."""
        with pytest.raises(UsageError, match="credentials") as caught:
            inject.build_args_for(mounts=True, index_url=url)
        assert "secret" not in caught.value.message
        assert "token@" not in caught.value.message

    def test_build_args_accept_an_at_sign_in_the_path(self) -> None:
        """An at sign in the path of a URL is not a credential."""
        assert inject.build_args_for(mounts=True, index_url="https://host/@scope/") == {
            "PIP_INDEX_URL": "https://host/@scope/"
        }


class TestPrepare:
    @pytest.mark.parametrize("mounts", [True, False])
    def test_prepare_variables_are_arguments_of_each_stage_that_runs_something(self, mounts: bool) -> None:
        """Variables stand as ARG, with every character of their value, where a RUN follows, and nowhere as ENV."""
        text = "FROM scratch AS a\nCOPY x x\nFROM b\nRUN make\n"
        made = inject.prepare(text, mounts=mounts, variables={"B": "", "A": """"$x" \\ 'y'"""})
        quoted = r'ARG A="\"\$x\" \\ ' + "'y'" + '"'
        assert made.split("\n")[:5] == ["FROM scratch AS a", "COPY x x", "FROM b", quoted, 'ARG B=""']
        assert "ENV" not in made

    @pytest.mark.parametrize("name", CASES)
    def test_prepare_with_mounts_gives_the_golden_text(self, name: str) -> None:
        """With mounts each case gives its golden text."""
        check_golden(GOLDEN / name / "mounts.golden", inject.prepare(case(name), mounts=True, **ALL_FEATURES))

    @pytest.mark.parametrize("name", [name for name in CASES if name not in {"heredoc", "own-mounts"}])
    def test_prepare_for_the_legacy_builder_gives_the_golden_text(self, name: str) -> None:
        """For the legacy builder each case gives its golden text."""
        text = inject.prepare(case(name), mounts=False, **ALL_FEATURES)
        check_golden(GOLDEN / name / "legacy.golden", text)

    @pytest.mark.parametrize("mounts", [True, False])
    @pytest.mark.parametrize("name", [name for name in CASES if name not in {"heredoc", "own-mounts"}])
    def test_prepare_without_a_feature_changes_nothing(self, name: str, mounts: bool) -> None:
        """Without a feature nothing changes."""
        assert inject.prepare(case(name), mounts=mounts) == case(name)

    @pytest.mark.parametrize(
        ("name", "what", "line"), [("heredoc", "a heredoc", 2), ("own-mounts", "`RUN --mount`", 3)]
    )
    def test_prepare_for_the_legacy_builder_refuses_what_it_lacks(self, name: str, what: str, line: int) -> None:
        """For the legacy builder, instructions that need BuildKit are refused."""
        with pytest.raises(NotReadyError) as caught:
            inject.prepare(case(name), mounts=False, path=Path("p/Dockerfile"))
        assert caught.value.message.startswith(f"p/Dockerfile:{line}: {what} needs BuildKit")

    @pytest.mark.parametrize(
        ("base_user", "user", "end"),
        [
            ("", "", ["RUN"]),
            ("root", "", ["RUN"]),
            ("", "USER 0", ["RUN"]),
            ("app", "", ["USER 0", "RUN", "USER app"]),
            ("app", "USER root", ["RUN"]),
            ("", "USER me:us", ["USER 0", "RUN", "USER me:us"]),
        ],
    )
    def test_prepare_removes_the_ca_bundle_as_root_and_restores_the_user(
        self, base_user: str, user: str, end: list[str]
    ) -> None:
        """The CA bundle is removed by root and the user restored."""
        text = f"ARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\n{user}\nRUN x"
        steps = parse(inject.prepare(text, mounts=False, ca_bundle=True, base_user=base_user))
        tail = [step.keyword if step.keyword == "RUN" else f"{step.keyword} {step.value}" for step in steps]
        assert tail[-len(end) :] == end
        assert [step.arguments for step in steps if step.keyword == "RUN"][-1] == '["rm", "-rf", "/run/jetson"]'

    def test_prepare_adds_the_stated_number_of_layers(self) -> None:
        """The number of layers it adds is the stated one."""
        text = "FROM a\nRUN b"
        more = inject.layer_count(inject.prepare(text, mounts=False, ca_bundle=True))
        assert more - inject.layer_count(text) == inject.CA_COPY_LAYERS

    @pytest.mark.parametrize("name", CASES)
    def test_prepare_adds_no_env(self, name: str) -> None:
        """No ENV is ever added."""
        before = [step.value for step in parse(case(name)) if step.keyword == "ENV"]
        after = [step.value for step in parse(inject.prepare(case(name), mounts=True, **ALL_FEATURES))]
        assert [value for value in after if value in before] == before

    @pytest.mark.parametrize("mounts", [True, False])
    @given(
        body=st.lists(
            st.sampled_from(["RUN a", "COPY x y", "USER u", "ENV A=b", "", "# c", "FROM b AS s", "RUN a \\\n b"])
        ),
        ca_bundle=st.booleans(),
        wheelhouse=st.booleans(),
    )
    def test_prepare_only_adds_to_the_text(
        self, mounts: bool, body: list[str], ca_bundle: bool, wheelhouse: bool
    ) -> None:
        """Taking out what was added gives the text again."""
        text = "\n".join(["FROM a", *body])
        found = inject.prepare(text, mounts=mounts, ca_bundle=ca_bundle, wheelhouse=wheelhouse)
        kept, rest = [], found.split("\n")
        for line in text.split("\n"):  # every line of the recipe is there, in order
            position = next(n for n, other in enumerate(rest) if _without_mounts(other) == line)
            kept += rest[:position]
            rest = rest[position + 1 :]
        assert all(line.startswith(("ARG ", "COPY .jetson/", "USER ", 'RUN ["rm"')) for line in [*kept, *rest])


SEEN = {  # what follows `ARG MAX_JOBS`, and what its RUNs print when 6 jobs are told
    "shell form": ("RUN echo $MAX_JOBS", ["6"]),
    "lower case and indented": ("  run echo $MAX_JOBS", ["6"]),
    "continued": ("RUN \\\n# a comment\n  echo \\\n  $MAX_JOBS \\\n && echo x", ["6\nx"]),
    "flags over two lines": ("RUN --network=none \\\n --security=sandbox echo $MAX_JOBS", ["6"]),
    "a flag with quotes": ('RUN --mount=type=bind,source="a b",target=/x echo $MAX_JOBS', ["6"]),
    "exec form": ('RUN ["/bin/sh", "-c", "echo $MAX_JOBS \\"$0\\"", "a b"]', ["6 a b"]),
    "exec form over two lines": ('RUN ["/bin/sh", \\\n "-c", "echo $MAX_JOBS"]\nRUN echo $MAX_JOBS', ["6", "6"]),
    "a test in brackets": ("RUN [ -n x ] && echo $MAX_JOBS", ["6"]),
    "errexit": ("RUN set -eu; echo ${MAX_JOBS:-none}", ["6"]),
    "bash": ('SHELL ["/bin/bash", "-euo", "pipefail", "-c"]\nRUN echo $MAX_JOBS', ["6"]),
    "another language": ('SHELL ["/usr/bin/python3", "-c"]\nRUN print(1)', ["print(1)"]),
    "two names": ("ARG CMAKE_BUILD_PARALLEL_LEVEL\nRUN echo $MAX_JOBS $CMAKE_BUILD_PARALLEL_LEVEL", ["6 6"]),
    "an ENV wins": ("ENV MAX_JOBS=2\nRUN echo ${MAX_JOBS:-unset}", ["unset"]),
    "an old ENV wins": ("ENV MAX_JOBS 2\nRUN echo ${MAX_JOBS:-unset}", ["unset"]),
    "an ENV of another name": ("ENV A=MAX_JOBS\nRUN echo $MAX_JOBS", ["6"]),
    "the next stage": ("FROM b\nRUN echo ${MAX_JOBS:-unset}", ["unset"]),
    "ONBUILD": ("ONBUILD RUN echo $MAX_JOBS", []),
    "a heredoc as script": ("RUN <<EOF\necho $MAX_JOBS\necho x\nEOF", ["6\nx"]),
    "a heredoc for a program": ("RUN cat - <<EOF && echo $MAX_JOBS\nx\nEOF", ["x\n6"]),
    "a heredoc of its own language": ("RUN <<EOF\n#!/usr/bin/python3\nprint(1)\nEOF", ["#!/usr/bin/python3\nprint(1)"]),
}


class TestJobs:
    @pytest.mark.parametrize(("body", "expected"), list(SEEN.values()), ids=list(SEEN))
    @pytest.mark.parametrize("features", [{}, ALL_FEATURES], ids=["alone", "with mounts"])
    def test_with_jobs_reaches_every_run_after_the_argument(
        self, tmp_path: Path, body: str, expected: list[str], features: dict[str, Any]
    ) -> None:
        """Every RUN after the argument knows its number of jobs."""
        hosts = tmp_path / "hosts"
        hosts.write_text("127.0.0.1\tlocalhost more\n0.0.0.6\tjetson-max-jobs\n::1 localhost\n")
        text = f"FROM a\nRUN echo ${{MAX_JOBS:-unset}}\nARG MAX_JOBS\n{body}\n"
        steps = parse(inject.prepare(inject.with_jobs(text), mounts=True, **features))
        before = [step for step in parse(text) if step.keyword == "RUN"]
        runs = [step for step in steps if step.keyword == "RUN"]
        assert [step.keyword for step in steps if step.keyword != "ARG"] == [
            step.keyword for step in parse(text) if step.keyword != "ARG"
        ]
        for old, new in zip(before, runs, strict=True):
            assert [flag for flag in new.flags if flag in old.flags] == list(old.flags)
        shells = [step.words[0] for step in steps if step.keyword == "SHELL"]
        said = [self.output(step, hosts, (shells or ["/bin/sh"])[0]) for step in runs[1:]]
        assert self.output(runs[0], hosts, "/bin/sh") == "unset"
        assert said == expected

    @staticmethod
    def output(step: Instruction, hosts: Path, shell: str) -> str:
        """What a RUN prints, run as the engine does; the program of another language as it stands."""
        scripts = [doc.body for doc in step.heredocs]
        text = step.arguments
        if scripts and text.startswith("<<"):
            text = scripts[0]
        elif scripts:
            text = f"{text}\n{scripts[0]}{step.heredocs[0].name}"
        if text.startswith("#!") or "python" in shell:
            return text.strip()
        words = json.loads(text) if text.startswith('["') else [shell, "-c", text]
        words = [word.replace("/etc/hosts", str(hosts)) for word in words]
        env = {name: value for name, value in os.environ.items() if name not in inject.JOB_ARGS}
        return subprocess.run(words, capture_output=True, text=True, check=True, env=env).stdout.strip()

    def test_with_jobs_changes_nothing_without_the_argument(self) -> None:
        """Nothing is added where no argument asks for it."""
        text = "FROM a\nARG OTHER\nRUN make\n"
        assert inject.with_jobs(text) == text
        asks = "FROM a\nARG MAX_JOBS\nRUN make\n"
        assert inject.prepare(asks, mounts=False) == asks

    def test_with_jobs_gives_the_same_text_for_any_number(self) -> None:
        """The text does not depend on the number."""
        text = inject.with_jobs("FROM a\nARG MAX_JOBS\nRUN make")
        assert text.endswith("export MAX_JOBS; make")
        assert not re.search(r"0\.0\.0\.\d", text)


def _without_mounts(line: str) -> str:
    return " ".join(word for word in line.split(" ") if not word.startswith("--mount="))


class TestMirrors:
    def test_mirrors_script_stands_before_every_command(self) -> None:
        """Shell form, JSON form and scripts read it; a script in another language and ONBUILD stay."""
        scripts = "RUN <<EOF\nmake\nEOF\nRUN <<EOF\n#!/bin/python\n1\nEOF"
        text = f'FROM a\nRUN make\nRUN ["make", "all"]\n{scripts}\nONBUILD RUN x'
        lines = inject.with_mirrors(text).split("\n")
        mount = f"--mount=type=secret,id={inject.MIRRORS_SECRET_ID},target={inject.MIRRORS_TARGET},mode=0444"
        read = f". {inject.MIRRORS_TARGET}; "
        assert lines[1] == f"RUN {mount} {read}make"
        words = json.loads(lines[2].removeprefix(f"RUN {mount} "))
        assert words == ["/bin/sh", "-c", f'{read}"$@"', "sh", "make", "all"]
        assert lines[3:6] == [f"RUN {mount} <<EOF", f"{read}make", "EOF"]
        assert lines[6:] == text.split("\n")[6:]

    def test_mirrors_script_is_told_that_a_command_has_a_trap(self) -> None:
        """What the script would set at the end of a command gives way to the command's own."""
        made = inject.with_mirrors("FROM a\nRUN trap 'rm x' EXIT; make\n")
        assert f"jetson_own_trap=1; . {inject.MIRRORS_TARGET}; trap 'rm x' EXIT; make" in made

    def test_mirrors_script_is_for_commands_in_json_form_where_a_shell_is_seen(self) -> None:
        """Where nothing is configured, a stage that shows no shell is left as it is; another one reads the script."""
        text = 'FROM a\nRUN ["/prog"]\nFROM b\nRUN make\nRUN ["/prog"]\nFROM c\nSHELL ["/python"]\nRUN 1\nRUN ["/p"]'
        lines = inject.with_mirrors(text, everywhere=False).split("\n")
        changed = [new != old for new, old in zip(lines, text.split("\n"), strict=True)]
        assert changed == [False, False, False, True, True, False, False, False, False]


def test_inject_as_written_shows_the_instruction_of_the_recipe() -> None:
    """Every mount that is added is left out of what is shown, and the recipe's own stays."""
    text = "FROM x\nRUN --mount=type=cache,target=/root/.cache make all\n"
    shown = inject.prepare(text, ca_bundle=True, wheelhouse=True, mounts=True)
    (added,) = [line for line in shown.splitlines() if "make all" in line]
    assert added.count("--mount=") > 1
    assert inject.as_written(f"#5 [2/2] {added}").startswith("#5 [2/2] RUN --mount=type=cache,target=/root/.cache")
    assert inject.as_written(added).count("--mount=") == 1
