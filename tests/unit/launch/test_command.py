"""The `docker run` command for a host: what users know from upstream, and nothing that is missing here."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetson_containers.core.console import Console, Level
from jetson_containers.core.errors import EngineMissingError, NotReadyError, UsageError
from jetson_containers.launch import command
from jetson_containers.launch.command import Launch, plan_run
from jetson_containers.launch.options import is_bare, parse
from tests.fakes import CAPABILITIES
from tests.paths import UNIT_DIR
from tests.unit.launch.helpers import HOSTS, NO_GPU, SETTINGS, plan, settings_with, warnings_of

GOLDEN = UNIT_DIR / "golden" / "launch"


@pytest.mark.parametrize("host", HOSTS)
def test_command_for_each_host_is_the_expected_one(tmp_path: Path, host: str) -> None:
    """Each captured host gets its expected command."""
    planned = plan(
        tmp_path, "-v", "/a:/b", "img:tag", "llama-cli", "--version", host=host, stdin_tty=True, stdout_tty=True
    )
    golden = GOLDEN / f"{host}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text("\n".join(planned.argv) + "\n", encoding="utf-8")
    assert list(planned.argv) == golden.read_text(encoding="utf-8").splitlines()
    assert warnings_of(planned) == []


def test_command_for_a_bare_host_has_only_the_defaults(tmp_path: Path) -> None:
    """A bare host gets the defaults and nothing else."""
    assert list(plan(tmp_path, "img", "cmd", "-x").argv) == [
        *("/usr/bin/docker", "run", "-i", "--rm", "--network", "host", "--shm-size=8g", "--name", "unique"),
        *("--volume", "/srv/data:/data", "img", "cmd", "-x"),
    ]


def test_command_keeps_the_words_of_the_user_in_order(tmp_path: Path) -> None:
    """The user's words follow ours, untouched and in order."""
    users = ["-e", "A=1", "--net=bridge", "-itv", "/x:/y", "--name", "mine", "img", "sh", "-c", "echo --name $X"]
    assert list(plan(tmp_path, *users).argv)[-len(users) :] == users


@pytest.mark.parametrize(
    ("args", "stdin_tty", "stdout_tty", "expected"),
    [
        ("img", True, True, ["-it"]),
        ("img", True, False, ["-i"]),  # run.sh … | less
        ("img", False, True, ["-i"]),  # echo hi | run.sh …
        ("img", False, False, ["-i"]),
        ("-d img", False, False, []),
        ("--detach=true img", False, True, []),
        ("-d img", True, True, ["-it"]),
        ("-i img", True, True, []),  # the user has said what is wanted
        ("-t img", False, False, []),
        ("-it img", True, True, []),
        ("-a stdout img", True, True, []),
        ("--tty=false img", True, True, []),
        ("img -it", True, True, ["-it"]),  # the command's own
    ],
)
def test_terminal_options_follow_standard_input_and_output(
    tmp_path: Path, args: str, stdin_tty: bool, stdout_tty: bool, expected: list[str]
) -> None:
    """`-i` and `-t` follow the standard input and output."""
    planned = plan(tmp_path, *args.split(), stdin_tty=stdin_tty, stdout_tty=stdout_tty)
    ours = list(planned.argv[2 : planned.argv.index("--rm")])
    assert ours == expected


@pytest.mark.parametrize(
    ("option", "default", "kept"),
    [
        ("--rm", "--rm", False),
        ("--rm=false", "--rm", False),
        ("--restart=always", "--rm", False),
        ("--restart=no", "--rm", True),
        ("--network=bridge", "host", False),
        ("--net=none", "host", False),
        ("--link=db", "host", False),
        ("--ip=10.0.0.2", "host", False),
        ("--publish=80:80", "host", True),
        ("--shm-size=1g", "--shm-size=8g", False),
        ("--ipc=host", "--shm-size=8g", False),
        ("--name=mine", "unique", False),
        ("--ulimit=memlock=1", "--ulimit=memlock=-1", False),
        ("--ulimit=nofile=1", "--ulimit=memlock=-1", True),
        ("--volume=/mine:/data", "/srv/data:/data", False),
        ("--mount=type=bind,source=/mine,target=/data/", "/srv/data:/data", False),
        ("--volume=/mine:/data/models", "/srv/data:/data", True),
        ("--volume=/x:/etc/localtime", "/etc/localtime:/etc/localtime:ro", False),
        ("--device=/dev/video0", "/dev/video0", False),
        ("--gpus=all", "nvidia", False),
        ("--runtime=runc", "nvidia", False),
        ("--device=nvidia.com/gpu=0", "nvidia", False),
        ("--env=NVIDIA_DRIVER_CAPABILITIES=video", "NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics", False),
        ("--env=NVIDIA_VISIBLE_DEVICES=0", "NVIDIA_VISIBLE_DEVICES=all", False),
    ],
)
def test_option_of_the_user_replaces_the_default(tmp_path: Path, option: str, default: str, kept: bool) -> None:
    """An option of the user replaces the default."""
    host = "x86-gpu" if "ulimit" in default else "orin-r36"
    assert default in plan(tmp_path, "img", host=host).argv
    ours = [word for word in plan(tmp_path, option, "img", host=host).argv if word != option]
    assert (default in ours) is kept


def test_engine_of_another_machine_has_paths_of_its_own(tmp_path: Path) -> None:
    """Its mounts are said to be paths there; the folder for /data is named by an option, and none is made here."""
    remote = replace(CAPABILITIES, elsewhere=True)
    planned = plan(tmp_path, "img", capabilities=remote)
    (said,) = [notice for notice in planned.notices if "another machine" in notice.text]
    assert "`--data DIR`" in str(said.hint)
    assert planned.data is None
    named = plan(tmp_path, "--data", "/mnt/there", "img", capabilities=remote)
    assert [mount.source for mount in named.mounts if mount.target == "/data"] == ["/mnt/there"]
    assert not [notice for notice in named.notices if "`--data DIR`" in str(notice.hint)]


def test_engine_of_this_machine_has_its_paths(tmp_path: Path) -> None:
    """An engine of this machine is not said to be elsewhere."""
    planned = plan(tmp_path, "img")
    assert planned.data is not None
    assert not [notice for notice in planned.notices if "another machine" in notice.text]


def test_name_after_the_image_belongs_to_the_command(tmp_path: Path) -> None:
    """A name after the image belongs to the command."""
    planned = plan(tmp_path, "img", "app", "--name", "x")
    assert planned.name == "unique"
    assert "unique" in planned.argv


def test_names_of_containers_of_one_second_differ(tmp_path: Path) -> None:
    """Two containers of one second have different names."""
    names = {plan(tmp_path, name=None).name for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("jetson_container_2") for name in names)


def test_published_ports_on_the_network_of_the_host_get_a_warning(tmp_path: Path) -> None:
    """Published ports on the host's network get a warning."""
    assert any("published ports" in text for text in warnings_of(plan(tmp_path, "-p", "80:80", "img")))
    assert warnings_of(plan(tmp_path, "-p", "80:80", "--network", "bridge", "img")) == []


def test_unknown_option_is_passed_on_with_a_warning(tmp_path: Path) -> None:
    """An unknown option is passed on with a warning."""
    planned = plan(tmp_path, "--runtme", "nvidia", "img")
    assert list(planned.argv[-3:]) == ["--runtme", "nvidia", "img"]
    (notice,) = [notice for notice in planned.notices if "--runtme" in notice.text]
    assert notice.hint == "did you mean `--runtime`?"


secret_values = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=8, max_size=40).map(
    "s3cr3t".__add__
)


secret_names = st.sampled_from(
    [
        "HF_TOKEN",
        "HUGGINGFACE_TOKEN",
        "OPENAI_API_KEY",
        "my_password",
        "DB_PASS",
        "AWS_SECRET_ACCESS_KEY",
        "X_KEY",
        "KEY",
    ]
)


spellings = st.sampled_from(["-e {}", "--env {}", "--env={}", "-e{}", "-e={}", "-ite {}", "-ite{}"])


@given(name=secret_names, value=secret_values, spelling=spellings, in_env=st.booleans(), sudo=st.booleans())
def test_secrets_never_stand_in_the_argv_nor_in_the_output(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: str, spelling: str, in_env: bool, sudo: bool
) -> None:
    """A secret never stands in the argv nor in what is printed."""
    words = [word.format(f"{name}={value}") for word in spelling.split(" ")]
    out, err = io.StringIO(), io.StringIO()
    for as_json in (False, True):
        planned = plan_run(
            parse(["--dry-run", *words, "img"]),
            NO_GPU,
            replace(CAPABILITIES, sudo=sudo),
            SETTINGS,
            root=Path("/nonexistent"),
            env={name: value} if in_env else {},
        )
        console = Console(out=out, err=err, level=Level.VERBOSE, as_json=as_json, env={})
        assert command.run(planned, console) == 0
    assert not any(value in word for word in planned.argv)
    assert value not in out.getvalue() + err.getvalue() + repr(planned)
    assert {**({name: value} if in_env else {}), **planned.env_additions}[name] == value
    assert name in parse([*planned.argv[planned.argv.index("run") + 1 :]]).line.env_names


@given(value=secret_values)
def test_token_of_the_environment_is_passed_under_both_names(value: str) -> None:
    """The token of the environment is passed by name, under both names."""
    planned = plan_run(
        parse(["img"]), NO_GPU, CAPABILITIES, SETTINGS, root=Path("/nonexistent"), env={"HUGGINGFACE_TOKEN": value}
    )
    assert [word for word in planned.argv if "TOKEN" in word] == ["HF_TOKEN", "HUGGINGFACE_TOKEN"]
    assert planned.env_additions == {"HF_TOKEN": value}
    assert not any(value in word for word in planned.argv)


@pytest.mark.parametrize(
    ("args", "env", "dotenv", "passed", "additions"),
    [
        ("img", {"HF_TOKEN": "a", "HUGGINGFACE_TOKEN": "b"}, {}, ["HF_TOKEN", "HUGGINGFACE_TOKEN"], {}),
        ("img", {"HF_TOKEN": ""}, {}, [], {}),
        ("img", {}, {"HF_TOKEN": "d"}, ["HF_TOKEN", "HUGGINGFACE_TOKEN"], {"HF_TOKEN": "d", "HUGGINGFACE_TOKEN": "d"}),
        ("-e HF_TOKEN img", {"HF_TOKEN": "a"}, {}, ["HF_TOKEN"], {}),
        ("-e HF_TOKEN img", {}, {"HF_TOKEN": "d"}, ["HF_TOKEN"], {"HF_TOKEN": "d"}),
        ("-e HF_TOKEN=x img", {"HF_TOKEN": "a"}, {}, ["HF_TOKEN"], {"HF_TOKEN": "x"}),
        ("-e HF_TOKEN=x -e HF_TOKEN=y img", {}, {}, ["HF_TOKEN", "HF_TOKEN"], {"HF_TOKEN": "y"}),
        ("-e HF_TOKEN=x -e HF_TOKEN img", {"HF_TOKEN": "a"}, {}, ["HF_TOKEN", "HF_TOKEN"], {}),
        ("-e HF_TOKEN= img", {"HF_TOKEN": "a"}, {}, ["HF_TOKEN="], {}),
        ("-e OPENAI_API_KEY img", {}, {"OPENAI_API_KEY": "o"}, [], {"OPENAI_API_KEY": "o"}),
        ("img HF_TOKEN=x", {}, {}, ["HF_TOKEN=x"], {}),  # the command's own words are the user's
    ],
)
def test_token_sources_decide_what_is_passed(
    tmp_path: Path, args: str, env: dict[str, str], dotenv: dict[str, str], passed: list[str], additions: dict[str, str]
) -> None:
    """The sources of a token decide what is passed and how."""
    known = settings_with(data=Path("/srv/data"), cache=Path("/srv/cache"), env={**dotenv, **env})
    planned = plan(tmp_path, *args.split(), env=env, settings=known)
    assert [word for word in planned.argv if "_TOKEN" in word] == passed
    assert planned.env_additions == additions


def test_sudo_keeps_exactly_the_variables_passed_by_name(tmp_path: Path) -> None:
    """sudo keeps exactly the variables that are passed by name."""
    planned = plan(
        tmp_path,
        *("-e", "MINE", "-e", "OTHER=1", "-e", "MY_KEY=x", "img"),
        capabilities=replace(CAPABILITIES, sudo=True),
        env={"HF_TOKEN": "t", "DISPLAY": ":0"},
    )
    assert planned.argv[:4] == (
        *("sudo", "--preserve-env=DISPLAY,HF_TOKEN,HUGGINGFACE_TOKEN,MINE,MY_KEY", "/usr/bin/docker", "run"),
    )


def test_sudo_without_variables_has_no_option(tmp_path: Path) -> None:
    """sudo without variables has no option."""
    assert plan(tmp_path, host="nano-r32").argv[:3] == ("sudo", "/usr/bin/docker", "run")


@pytest.mark.parametrize("args", [[], ["--rm"], ["--rm", ""], [""], ["--data", "d"], ["--", "--rm"]])
def test_command_without_an_image_is_a_usage_error(args: list[str]) -> None:
    """A command without an image is a usage error."""
    with pytest.raises(UsageError, match="no image") as caught:
        plan_run(parse(args), NO_GPU, CAPABILITIES, SETTINGS, env={})
    assert "./run.sh $(./autotag" in (caught.value.hint or "")


@pytest.mark.parametrize("word", ["/bin/bash", "./script.sh", "-", "two words"])
def test_image_that_cannot_be_one_hints_at_an_empty_autotag(word: str) -> None:
    """A word that cannot be an image hints at an empty answer of autotag."""
    with pytest.raises(UsageError, match="cannot be an image") as caught:
        plan_run(parse(["--rm", word, "-c", "x"]), NO_GPU, CAPABILITIES, SETTINGS, env={})
    assert "autotag" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("--help", True),
        ("--verbose --help", True),
        ("--dry-run --help", True),
        ("--rm --help img", False),
        ("img --help", False),
        ("", False),
    ],
)
def test_help_is_asked_for_by_the_first_option(line: str, *, asked: bool) -> None:
    """Help is asked for by the first option but ours; after an image it is the command's."""
    assert parse(line.split()).asks_for_help is asked


def test_line_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was parsed is handed on: making the command, with sudo too, parses nothing."""
    request = parse(["-e", "A", "-e", "B=1", "img", "cmd"])
    for module in ("docker_options", "options"):
        monkeypatch.setattr(f"jetson_containers.launch.{module}.parse", lambda *_args: pytest.fail("parsed again"))
    planned = plan_run(
        request, NO_GPU, replace(CAPABILITIES, sudo=True), SETTINGS, root=tmp_path, env={"HF_TOKEN": "t"}
    )
    assert planned.argv[:2] == ("sudo", "--preserve-env=A,HF_TOKEN,HUGGINGFACE_TOKEN")


def test_dry_run_prints_a_command_to_paste_and_does_nothing(tmp_path: Path) -> None:
    """A dry run prints a command that can be pasted, and does nothing."""
    data = tmp_path / "new data"
    planned = plan(
        tmp_path,
        "--dry-run",
        "--data",
        str(data),
        "-e",
        "HF_TOKEN=x",
        "img",
        "echo",
        "a b",
        "$X",
        env={"DISPLAY": ":0"},
    )
    out, err = io.StringIO(), io.StringIO()
    assert command.run(planned, Console(out=out, err=err, env={}), execute=lambda _: pytest.fail("was run")) == 0
    assert shlex.split(out.getvalue()) == list(planned.argv)
    assert out.getvalue().count("\n") == 1
    assert "DISPLAY" not in err.getvalue()
    assert "set in the environment: HF_TOKEN" in err.getvalue()
    assert not data.exists()


def test_dry_run_as_json_holds_the_command(tmp_path: Path) -> None:
    """A dry run as JSON holds the command without secrets."""
    planned = plan(tmp_path, "--dry-run", "-e", "HF_TOKEN=x", "img", "cmd")
    out = io.StringIO()
    command.run(planned, Console(out=out, err=io.StringIO(), as_json=True, env={}))
    shown = json.loads(out.getvalue())
    assert shown["argv"] == list(planned.argv)
    assert (shown["image"], shown["command"], shown["gpu"], shown["env"]) == ("img", ["cmd"], "none", ["HF_TOKEN"])


def test_verbose_output_names_each_mount(tmp_path: Path) -> None:
    """Each mount is named with `--verbose`."""
    planned = plan(tmp_path, "--dry-run", "img", host="x86-cpu")
    quiet, verbose = io.StringIO(), io.StringIO()
    command.run(planned, Console(out=io.StringIO(), err=quiet, env={}))
    command.run(planned, Console(out=io.StringIO(), err=verbose, level=Level.VERBOSE, env={}))
    assert quiet.getvalue() == ""
    assert "mount: /srv/data -> /data\n" in verbose.getvalue()
    assert "mount: /etc/localtime -> /etc/localtime (read-only)\n" in verbose.getvalue()


def test_start_makes_the_data_directory_and_the_cookie_first(tmp_path: Path) -> None:
    """The data directory and the cookie are made before the start."""
    known = settings_with(data=tmp_path / "a" / "data", cache=tmp_path / "cache")
    planned = plan(tmp_path, env={"DISPLAY": ":0", "HOME": str(tmp_path)}, settings=known)
    err = io.StringIO()

    def execute(_: Launch) -> int:
        assert (tmp_path / "a" / "data").is_dir()
        assert (tmp_path / "cache" / "xauth-0").is_file()
        return 7

    assert command.run(planned, Console(out=io.StringIO(), err=err, env={}), execute=execute) == 7
    assert "no X11 cookie" in err.getvalue()


def test_data_mount_of_the_user_makes_no_directory(tmp_path: Path) -> None:
    """A data mount of the user makes no directory."""
    assert plan(tmp_path, "-v", "/mine:/data", "img").data is None


def test_data_directory_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative data directories are made absolute."""
    monkeypatch.chdir(tmp_path)
    assert plan(tmp_path, "--data", "x/../y", "img").data == tmp_path / "y"


BECOME = """
import sys
from jetson_containers.launch.command import Launch, become
from jetson_containers.launch.gpu import Gpu
words, added = tuple(sys.argv[1:]), {"ADDED": "yes"}
become(Launch(argv=words, env_additions=added, notices=(), image="img", command=(), name="n", gpu=Gpu.NONE))
"""


def become(*argv: str, redirect: str = "") -> str:
    """What a command prints that our process turns into, started by a shell with the given redirection."""
    words = ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-c", BECOME, *argv]
    done = subprocess.run(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=True, timeout=60)
    return done.stdout.decode()


def test_start_gives_docker_the_secrets_in_its_environment() -> None:
    """Docker gets the secrets in its environment."""
    assert become("sh", "-c", "echo $ADDED") == "yes\n"


@pytest.mark.parametrize(("stream", "redirect"), [(0, "<&-"), (2, "2>&-")])
def test_start_opens_closed_standard_streams(stream: int, redirect: str) -> None:
    """With its standard input closed docker now and then takes a socket for it and never starts the container."""
    assert become("readlink", f"/proc/self/fd/{stream}", redirect=redirect) == "/dev/null\n"


def test_start_restores_the_signals_that_python_ignores() -> None:
    """Signals that Python ignores are not ignored by docker."""
    ignored = int(become("sed", "-n", "s/^SigIgn:\t//p", "/proc/self/status"), 16)
    assert not ignored & (1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1))


def test_start_without_the_docker_client_is_an_error(tmp_path: Path) -> None:
    """A docker client that is gone by now is an error."""
    planned = plan(tmp_path, capabilities=replace(CAPABILITIES, client=str(tmp_path / "docker")))
    before = signal.getsignal(signal.SIGPIPE)
    with pytest.raises(EngineMissingError):
        command.become(planned)
    assert signal.getsignal(signal.SIGPIPE) is before  # else the next write to a closed pipe would kill us silently


def test_start_of_a_client_that_cannot_be_executed_is_an_error(tmp_path: Path) -> None:
    """A docker client that may not be executed is an error."""
    (tmp_path / "docker").touch(mode=0o600)
    planned = plan(tmp_path, capabilities=replace(CAPABILITIES, client=str(tmp_path / "docker")))
    with pytest.raises(NotReadyError, match="Permission denied"):
        command.become(planned)


@pytest.mark.parametrize(
    ("args", "env", "words"),
    [
        (["img"], {"HF_ENDPOINT": "http://hub"}, ["HF_ENDPOINT"]),
        (["img"], {}, []),
        (["-e", "HF_ENDPOINT=http://mine", "img"], {"HF_ENDPOINT": "http://hub"}, ["HF_ENDPOINT=http://mine"]),
    ],
)
def test_hub_endpoint_is_passed_as_the_token_is(args: list[str], env: dict[str, str], words: list[str]) -> None:
    """An own hub is passed where the token is passed."""
    planned = plan_run(parse(args), NO_GPU, CAPABILITIES, SETTINGS, root=Path("/nonexistent"), env=env)
    assert [word for word in planned.argv if word.startswith("HF_ENDPOINT")] == words


@pytest.mark.parametrize(
    ("image", "host", "warned"),
    [
        ("dustynv/mlc:51fb0f4-builder-r35.4.1", "orin-r36", True),
        ("dustynv/l4t-pytorch:r36.4.0", "nano-r32", True),
        ("dustynv/mlc:0.20.0-r36.4.0", "orin-r36", False),
        ("ubuntu:22.04", "orin-r36", False),
        ("dustynv/mlc:51fb0f4-builder-r35.4.1", "x86-gpu", False),
    ],
)
def test_image_of_another_l4t_family_gets_a_warning(tmp_path: Path, image: str, host: str, *, warned: bool) -> None:
    """An image of another L4T family gets a warning."""
    found = [text for text in warnings_of(plan(tmp_path, image, host=host)) if "the image is made for L4T" in text]
    assert bool(found) is warned
    if "35.4.1" in image and warned:
        assert "made for L4T 35.4.1, and this is L4T 36" in found[0]


@pytest.mark.parametrize(("image", "bare"), [("mlc_llm", True), ("mlc:1", False), ("a/b", False), ("a@sha256", False)])
def test_is_bare_recognizes_a_word_that_may_be_the_command(image: str, bare: bool) -> None:
    """A word that may be the command is recognized."""
    assert is_bare(image) is bare
