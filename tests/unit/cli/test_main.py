"""The command line: results on stdout, exit codes of the interface, options before and after the command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jetson_containers.builder import known_base
from jetson_containers.builder.known_base import BaseImage
from jetson_containers.cli import main
from jetson_containers.cli.app import App
from jetson_containers.cli.autotag import autotag
from jetson_containers.cli.build import build, joined
from jetson_containers.cli.build_arguments import parse_build_args
from jetson_containers.cli.llm import llm
from jetson_containers.core import settings
from jetson_containers.core.console import Console, Level
from jetson_containers.core.errors import UsageError
from jetson_containers.plan.request import Assembly
from jetson_containers.platforms.detect import parse_target
from jetson_containers.platforms.overrides import rebase
from jetson_containers.platforms.target import SUPPORTED_TARGETS
from jetson_containers.recipes import isolation
from tests.paths import ROOT_DIR
from tests.unit.builder.helpers import chain

if TYPE_CHECKING:
    from pathlib import Path

    import click

ROOT = ROOT_DIR


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main.main(list(argv))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_lists_each_command_without_importing_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Help lists every command without importing it."""
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for command in main.COMMANDS:
        assert command in out


@pytest.mark.parametrize(
    "command",
    [(name,) for name in sorted(main.COMMANDS)] + [("llm", name) for name in sorted(llm.commands)],
    ids=" ".join,
)
def test_help_of_each_command_has_an_example(capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    """Every command has help with an example."""
    code, out, _ = run(capsys, *command, "--help")
    assert code == 0
    assert re.search(r"Examples?:\s+.*(jetson-containers|\./\w+\.sh)", out)


def test_main_suggests_the_nearest_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped command gets a suggestion."""
    code, out, err = run(capsys, "biuld")
    assert (code, out) == (2, "")
    assert "build" in err


@pytest.mark.parametrize(
    "argv",
    [
        ("--target", "r36.4.3", "info", "--json"),
        ("info", "--json", "--target", "r36.4.3"),
        ("--json", "info", "--target", "r36.4.3"),
    ],
)
def test_global_options_are_accepted_before_and_after(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...]
) -> None:
    """Global options are accepted before and after the command."""
    code, out, _ = run(capsys, *argv)
    assert code == 0
    assert json.loads(out)["l4t"] == "36.4.3"


def package(directory: Path, name: str) -> str:
    directory.mkdir(parents=True)
    (directory / "Dockerfile").write_text(f"#---\n# name: {name}\n#---\nARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\n")
    return str(directory)


def test_package_dirs_before_and_after_the_command_and_of_the_environment_add_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Package dirs before and after the command and of the environment add up."""
    first, second = package(tmp_path / "one", "first"), package(tmp_path / "two", "second")
    monkeypatch.setenv("JETSON_CONTAINERS_PACKAGE_DIRS", package(tmp_path / "three", "third"))
    package(tmp_path / "more/fourth", "fourth")
    package(tmp_path / "more/deep/fifth", "fifth")
    names = ["first", "second", "third", "fourth", "fifth"]
    dirs = ("--package-dirs", first), ("--package-dirs", second, f"--package-dirs={tmp_path}/more/*")
    code, out, err = run(capsys, *dirs[0], "list", "--target", "cpu", *dirs[1], *names, "--json")
    assert code == 0, err
    assert {entry["name"] for entry in json.loads(out)} == set(names)


@pytest.mark.parametrize(
    ("depends", "refused"),
    [
        ("[torch2trt]", "there is no package `torch2trt`, which `needs` asks for"),
        ("[other]", "there is no package `torch2trt`, which `other` asks for"),
        ("[numpy]", None),
    ],
)
def test_why_looks_at_what_a_package_depends_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, depends: str, refused: str | None
) -> None:
    """`why` looks at what a package depends on."""
    for name, needs in (("needs", depends), ("other", "[torch2trt]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text(
            f"#---\n# name: {name}\n# depends: {needs}\n#---\nARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\n"
        )
    argv = ("why", "needs", "--target", "cpu", "--package-dirs", str(tmp_path))
    code, out, _ = run(capsys, *argv, "--json")
    assert (code, json.loads(out)["available"], json.loads(out)["refused"]) == (0, True, refused)
    code, out, _ = run(capsys, *argv)
    said = ["needs is available on this platform, but cannot be built", f"  no   {refused}"]
    assert out.splitlines()[:2] == said if refused else "cannot" not in out


def test_why_says_what_a_build_would_refuse_of_a_further_tree(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`why` plans packages of other trees, whose Dockerfiles nobody here has checked."""
    (tmp_path / "tall").mkdir()
    lines = "#---\n# name: tall\n#---\nARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n" + "RUN true\n" * 130
    (tmp_path / "tall" / "Dockerfile").write_text(lines)
    code, out, _ = run(capsys, "why", "tall", "--target", "cpu", "--package-dirs", str(tmp_path), "--json")
    assert code == 0
    assert "130 layers" in json.loads(out)["refused"]


def test_info_says_whether_programs_of_trees_run_in_a_sandbox(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With bubblewrap yes, else no with the reason; the JSON says it too."""
    for reason, expected in (("", "yes"), ("`bwrap` is not installed", "no")):
        monkeypatch.setattr(isolation, "why_not", lambda reason=reason: reason)
        _, shown, _ = run(capsys, "info", "--target", "r36.4.3")
        (row,) = (line for line in shown.splitlines() if line.startswith("sandbox of config.py"))
        assert row.split()[3:] == [expected, *(reason or "bwrap").split()]
        _, answer, _ = run(capsys, "info", "--target", "r36.4.3", "--json")
        assert json.loads(answer)["sandbox"] is (expected == "yes")


def test_info_list_and_build_name_the_same_platform(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`info`, `list` and `build` name the same platform."""
    monkeypatch.setenv("JETSON_CONTAINERS_CACHE", str(tmp_path))
    target = parse_target("x86_64,cpu")
    made = rebase(target, "debian", "12", "test")
    config = settings.load({"cache": str(tmp_path)}, env={"PATH": ""}, files=(), root=tmp_path)
    known_base.remember(config, target, "", BaseImage(reference="base:debian12", platform=made, digest=None, made=True))
    for words, python in (("x86_64,cpu", "3.11"), ("x86_64,cu129", "3.12")):
        _, info, _ = run(capsys, "info", "--target", words, "--json")
        _, plan, _ = run(capsys, "build", "--dry-run", "python", "--target", words, "--json")
        _, listed, _ = run(capsys, "list", "python", "--target", words, "--json")
        assert json.loads(info)["python"] == python
        planned = json.loads(plan)
        assert planned["platform"]["python"] == python
        assert planned["packages"] == [f"python:{python}"]
        assert f"python:{python}" in {entry["name"] for entry in json.loads(listed)}


@pytest.mark.parametrize(
    ("function", "argv", "key", "joined"),
    [
        (build, ("--skip-tests", "a,b", "--skip-tests", "c"), "skip_tests", "a,b,c"),
        (build, ("--skip-packages", "a", "--skip-packages=b"), "skip_packages", "a,b"),
        (build, ("--test-only", "a", "--test-only", "b"), "test_only", "a,b"),
        (build, ("--build-args", "A:1", "--build-args", "B:2"), "build_args", "A:1,B:2"),
        (build, ("--build-flags", "--pull", "--build-flags=--no-cache"), "build_flags", "--pull --no-cache"),
        (build, (), "skip_tests", ""),
        (autotag, ("x", "-p", "build", "--prefer", "local"), "prefer", "build,local"),
        (autotag, ("x", "-d", "build", "-d", "local"), "disable", "build,local"),
        (llm.commands["compile"], ("x", "--overrides", "a=1", "--overrides", "b=2"), "overrides", "a=1;b=2"),
    ],
)
def test_list_options_given_several_times_add_up(
    function: click.Command, argv: tuple[str, ...], key: str, joined: str
) -> None:
    """Options that take lists add up when given several times."""
    assert function.make_context("x", [*argv]).params[key] == joined


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("build", "--dry-run", "numpy", "--target", "r38.0.1"), 2, ["r38.0.1"]),
        (("autotag", "numpy", "--target", "r99.1"), 2, ["r99.1"]),
        (("info", "--target", "jetson-toaster"), 2, ["jetson-toaster"]),
        (("build", "--dry-run", "lama_cpp", "--target", "cpu"), 2, ["lama_cpp", "llama_cpp"]),
        (("build", "--dry-run", "--target", "cpu"), 2, ["no package"]),
        (("build", "--dry-run", "numpy", "--build-args", "nonsense", "--target", "cpu"), 2, ["KEY:VALUE"]),
        (("list", "nothing-like-this*", "--target", "cpu"), 3, ["nothing-like-this"]),
        (("list", "--package-dirs", "/does/not/exist", "--target", "cpu"), 2, ["/does/not/exist"]),
        (("run",), 2, []),
        (("llm", "chat", "tiny", "--runtime", "abacus"), 2, ["abacus", "llama_cpp"]),
    ],
)
def test_main_gives_one_clear_error_for_bad_input(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], code: int, words: list[str]
) -> None:
    """Bad input gets one clear error."""
    got, out, err = run(capsys, *argv)
    assert got == code, err
    assert "Traceback" not in err
    for word in words:
        assert word in err
    if argv != ("run",):
        assert out == ""
        assert err.count("error:") + err.count("Error:") == 1


def test_build_dry_run_prints_a_plan_and_json_as_documented(capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run prints a plan, and JSON as documented."""
    code, out, _ = run(capsys, "build", "--dry-run", "--json", "llama_cpp", "--target", "cpu")
    assert code == 0
    plan = json.loads(out)
    assert plan["schema"] == 1
    assert plan["request"] == ["llama_cpp"]
    for stage in plan["stages"]:
        assert {"package", "kind", "key", "parent", "image", "depends", "state", "layers"} <= set(stage)
        assert stage["key"].startswith("sha256:")
    code, again, _ = run(capsys, "build", "--dry-run", "--json", "llama_cpp", "--target", "cpu")
    assert again == out


def test_build_for_several_targets_is_one_plan_each(capsys: pytest.CaptureFixture[str]) -> None:
    """Each target has its images, with its own platform; what two releases share is planned once."""
    targets = ("--target", "r36.4.0", "--target", "cpu", "--target", "r36.4.3")
    code, out, _ = run(capsys, "build", "--dry-run", "--json", "numpy", *targets)
    assert code == 0
    data = json.loads(out)
    assert [plan["platform"]["l4t"] for plan in data["plans"]] == ["36.4.0", None]
    assert data["totals"]["images"] == 2
    alone = json.loads(run(capsys, "build", "--dry-run", "--json", "numpy", "--target", "cpu")[1])
    assert data["plans"][1]["stages"] == alone["stages"]


def test_build_refuses_one_name_for_different_images_of_two_targets() -> None:
    """A name would hide which of two images it is."""
    first, second = (
        Assembly(platform=parse_target(target), plans=(replace(made, platform=parse_target(target)),))
        for target, made in (("r36.4.0", chain("a", final="x:1")), ("r36.4.3", chain("b", final="x:1")))
    )
    with pytest.raises(UsageError, match=r"would be another image for each of two targets \(36\.4\.0 and 36\.4\.3\)"):
        joined([first, second])
    assert len(joined([first, first]).plans) == 1


def test_target_given_twice_means_the_last_where_one_is_meant(capsys: pytest.CaptureFixture[str]) -> None:
    """Commands for one platform take the last one, as for every option."""
    code, out, _ = run(capsys, "info", "--json", "--target", "r36.4.0", "--target", "r35.4.1")
    assert code == 0
    assert json.loads(out)["l4t"] == "35.4.1"


@pytest.mark.parametrize("target", ["r32.7.1", "r35.4.1", "r36.4.3", "cpu", "r35.4.1,cu118"])
def test_build_multiple_dry_run_plans_all_packages(capsys: pytest.CaptureFixture[str], target: str) -> None:
    """A dry run with `--multiple` plans everything."""
    code, out, err = run(capsys, "build", "--multiple", "--dry-run", "--json", "*", "--target", target)
    assert code == 0, err
    data = json.loads(out)
    assert data["totals"]["images"] == len(data["plans"]) > 5
    assert all(error["reason"] for error in data["errors"])


@pytest.mark.parametrize("place", range(4))
def test_global_options_are_accepted_between_llm_and_its_commands(
    capsys: pytest.CaptureFixture[str], place: int
) -> None:
    """Global options are accepted between `llm` and its commands."""
    argv = ["llm", "fit", "Llama-2-7b-chat-hf", "--board=orin-nx-16gb"]
    argv.insert(place, "--json")
    code, out, _ = run(capsys, *argv)
    assert code == 0
    assert json.loads(out)["board"] == "orin-nx-16gb"


@pytest.mark.parametrize("target", SUPPORTED_TARGETS)
def test_list_all_has_each_family_with_versions_or_a_reason(capsys: pytest.CaptureFixture[str], target: str) -> None:
    """Every family is listed on every platform or says why not."""
    code, out, _ = run(capsys, "list", "--all", "--json", "--target", target)
    rows = json.loads(out)
    assert code == 0
    assert {"name", "family", "version", "aliases", "group", "depends", "requires", "path"} <= rows[0].keys()
    families = {
        path.parent.name for name in ("Dockerfile", "config.yaml") for path in ROOT.glob(f"packages/*/*/{name}")
    }
    assert families <= {row["family"] for row in rows if row.get("absent", "available")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("A:1", {"A": "1"}),
        ("A:1,B:x y", {"A": "1", "B": "x y"}),
        ("URL:https://host:5000/x,B:2", {"URL": "https://host:5000/x", "B": "2"}),
        ("LIST:72,87,B:2", {"LIST": "72,87", "B": "2"}),
        ("A=1,B=x:y", {"A": "1", "B": "x:y"}),
        ("FLAGS:-DX=1,B=2", {"FLAGS": "-DX=1", "B": "2"}),
    ],
)
def test_build_args_take_colons_and_commas_in_values(text: str, expected: dict[str, str]) -> None:
    """Build arguments take colons and commas in values."""
    assert parse_build_args(text) == expected


def test_build_args_without_a_key_are_refused() -> None:
    """Build arguments without a key are refused."""
    with pytest.raises(UsageError):
        parse_build_args("1,2")


def test_main_start_imports_nothing_large() -> None:
    """Starting up imports no large library."""
    modules = {entry.partition(":")[0] for entry, _ in main.COMMANDS.values()}
    code = (
        f"import sys; from jetson_containers.cli import main, {', '.join(sorted(modules))}; "
        "import jetson_containers.autotag.search; "
        "print(sorted({'docker','jinja2','huggingface_hub','rich','resolvelib','requests','yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "package"),
    [("gguf", "llama_cpp:0.3.36"), ("speech text", "whisper:20250625"), ("ccache", "build-essential")],
)
def test_search_reads_the_docs_of_packages(capsys: pytest.CaptureFixture[str], words: str, package: str) -> None:
    """`search` reads what packages say of themselves."""
    code, out, _ = run(capsys, "search", words, "--target", "r36.4.3")
    assert code == 0
    [line] = [line for line in out.splitlines() if line.startswith(package)]
    assert "README.md" not in line
    assert "```" not in run(capsys, "show", package, "--target", "r36.4.3")[1]


def test_search_finds_a_broken_recipe_by_its_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A recipe that cannot be read is searched by its name."""
    folder = tmp_path / "mine" / "odd"
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text(
        "#---\n# name: odd-one\n# docs: gone.md\n#---\nARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"
    )
    code, out, _ = run(capsys, "search", "odd", "--packages", str(tmp_path / "mine"), "--target", "cpu")
    assert (code, "odd-one" in out) == (0, True)


@pytest.mark.parametrize(
    ("argv", "key", "value"),
    [
        (("--simul",), "dry_run", True),
        (("--skip-test=all",), "skip_tests", "all"),
        (("--skip-test", "all"), "skip_tests", "all"),
        (("--multi",), "multiple", True),
        (("--list",), "list_packages", True),
        (("--show",), "show_packages", True),
        (("--no-cache",), "no_cache", True),  # exact, though `--no-ccache` resembles it
        (("--build-flags", "--pu"), "build_flags", "--pu"),  # a value is not an option
        (("--", "--simul"), "packages", ("--simul",)),
    ],
)
def test_abbreviations_of_long_options_are_taken(argv: tuple[str, ...], key: str, value: object) -> None:
    """Abbreviations of long options are taken."""
    assert build.make_context("build", [*argv]).params[key] == value


@pytest.mark.parametrize(
    ("argv", "key", "value"),
    [
        (("--buildkit=true",), "buildkit", True),
        (("--buildkit=Off",), "buildkit", False),
        (("--no-buildkit=1",), "buildkit", False),
        (("--no-buildkit=false",), "buildkit", True),
        (("--multiple=yes",), "multiple", True),
        (("--multiple=0",), "multiple", False),
        (("--simul=on",), "dry_run", True),
        (("--skip-tests=no",), "skip_tests", "no"),  # an option with a value of its own keeps it
        (("--", "--multiple=1"), "packages", ("--multiple=1",)),
    ],
)
def test_switches_take_a_value(argv: tuple[str, ...], key: str, value: object) -> None:
    """A switch may say what it is set to, in the words that its variable takes."""
    assert build.make_context("build", [*argv]).params[key] == value


def test_switch_with_another_value_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither true nor false is an error, before anything is done."""
    code, _, err = run(capsys, "build", "--multiple=maybe", "numpy")
    assert (code, "`maybe` is neither true nor false" in err) == (2, True)


@pytest.mark.parametrize("option", ["--log-colors", "--log-status"])
def test_build_says_that_an_option_of_upstream_has_no_effect(capsys: pytest.CaptureFixture[str], option: str) -> None:
    """Upstream's options for its log are taken, with a word on what does it here."""
    code, _, err = run(capsys, "build", "--dry-run", "--target", "r36.4.3", option, "true", "cmake")
    assert (code, "have no effect" in err) == (0, True)


@pytest.mark.parametrize("option", ["--skip", "--buil", "--no-c", "--nonsense", "--dry-run-it"])
def test_abbreviations_of_several_options_or_none_are_refused(capsys: pytest.CaptureFixture[str], option: str) -> None:
    """Abbreviations of several options or none are refused."""
    code, _, err = run(capsys, "build", option, "numpy")
    assert code == 2
    assert option in err


def test_abbreviations_are_taken_by_groups(capsys: pytest.CaptureFixture[str]) -> None:
    """Abbreviations are taken by groups."""
    code, out, err = run(capsys, "--targ", "r36.4.3", "--js", "info")
    assert code == 0, err
    assert json.loads(out)["l4t"] == "36.4.3"
    assert run(capsys, "llm", "--off", "fit", "--hel")[0] == 0


@pytest.mark.parametrize(
    ("argv", "level"),
    [
        (("--debug",), Level.VERBOSE),
        (("--log-level", "DEBUG"), Level.VERBOSE),
        (("--log-level=info",), Level.NORMAL),
        (("--log-level", "warning"), Level.QUIET),
        (("--log-level", "error", "--verbose"), Level.VERBOSE),
        ((), Level.NORMAL),
    ],
)
def test_log_options_of_upstream_choose_how_much_is_said(
    monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...], level: Level
) -> None:
    """Log options of upstream choose how much is said."""
    said: list[Level] = []
    monkeypatch.setattr(App, "console", property(lambda app: said.append(app.level) or Console(level=app.level)))
    main.main(["root", *argv])
    assert said[0] is level


def test_ccache_options_of_upstream_are_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    """Ccache options of upstream are accepted."""
    argv = ("build", "--dry-run", "numpy", "--target", "cpu")
    assert run(capsys, *argv, "--no-ccache")[::2] == (0, run(capsys, *argv)[2])
    code, _, err = run(capsys, *argv, "--ccache-dir", "/x")
    assert code == 0
    assert "--ccache has no effect" in err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("build", "--dry-run", "--json", "Numpy>=2"), ["numpy>=2"]),
        (("show", "NUMPY"), ["numpy"]),
        (("why", "Numpy"), ["numpy", "available"]),
        (("tree", "Huggingface-Hub"), ["huggingface_hub"]),
        (("list", "NUMPY"), ["numpy"]),
    ],
)
def test_commands_take_names_without_regard_to_case_and_hyphens(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], words: list[str]
) -> None:
    """Commands take names without regard to case and hyphens."""
    code, out, err = run(capsys, *argv, "--target", "cpu")
    assert code == 0, err
    assert all(word in out for word in words)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["show", "nope", "--json"], "UnknownPackageError"),
        (["--json", "nonsense"], "UsageError"),
        (["list", "--json", "--nope"], "UsageError"),
        (["--target", "nonsense", "--json", "info"], "TargetError"),
    ],
)
def test_main_prints_errors_as_json_where_it_is_asked_for(
    capsys: pytest.CaptureFixture[str], words: list[str], kind: str
) -> None:
    """The error is the result on stdout, and stays readable on stderr."""
    code = main.main(words)
    out, err = capsys.readouterr()
    error = json.loads(out)["error"]
    assert (error["kind"], error["exit_code"], f"error: {error['message']}" in err) == (kind, code, True)
    assert set(error) == {"kind", "message", "hint", "details", "exit_code"}


@pytest.mark.parametrize("words", [["show", "nope"], ["list", "--nope", "--", "--json"]])
def test_main_prints_no_json_where_nobody_asked(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    """Without `--json`, and where it belongs to another program, stdout stays empty."""
    assert main.main(words) != 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ps"], "docker ps"),
        (["exec"], "docker exec"),
        (["biuld"], "build"),
    ],
)
def test_main_names_what_was_meant_by_an_unknown_command(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    """Habits of other programs are answered with their command, a typo with ours."""
    assert main.main(words) == 2
    assert said in capsys.readouterr().err


def test_main_has_help_and_version_as_words(capsys: pytest.CaptureFixture[str]) -> None:
    """`help COMMAND` is `COMMAND --help`, and `version` is `--version`."""
    assert main.main(["help", "list"]) == 0
    assert "jetson-containers list" in capsys.readouterr().out
    assert main.main(["help"]) == 0
    assert "Commands:" in capsys.readouterr().out
    assert main.main(["version"]) == 0
    assert "version" in capsys.readouterr().out


def test_pull_of_what_is_no_package_does_not_suggest_to_build_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that no package has cannot be built either."""
    assert main.main(["pull", "nosuchthing", "--offline"]) == 127
    err = capsys.readouterr().err
    assert ("there is no package `nosuchthing`" in err, "./build.sh" in err) == (True, False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["build", "--jobs", "x", "numpy"], "'x' is not a whole number"),
        (["llm", "fit", "--vram", "much", "tiny"], "'much' is not a number"),
        (["build", "--jobs", "-1", "numpy"], "-1 is not in the range x>=0"),
    ],
)
def test_wrong_numbers_are_named_in_plain_words(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value that is no number is said in words of ours, not by the name of click's type."""
    code, _, err = run(capsys, *words)
    assert code == 2
    assert said in err
