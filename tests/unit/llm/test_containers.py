"""What docker is told, whose containers are removed, and how the work ends."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core import files, settings
from jetson_containers.core.errors import InterruptedByUserError, UsageError
from jetson_containers.engine.owner import OWNER, owner
from jetson_containers.llm.containers import (
    Containers,
    claim,
    client_for,
    log_of,
    remove_orphans,
    running,
    terminate_on_signals,
    without_tokens,
)
from jetson_containers.llm.pipeline.types import CommandStep
from jetson_containers.llm.runtimes.interface import SCRIPTS_DIR, Service
from jetson_containers.platforms import detect
from tests.fakes import FakeEngine
from tests.unit.llm.fakes import CPU, OURS, Docker, Local, server

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.llm.context import LlmContext


def test_containers_server_never_has_its_key_in_the_argv(containers: Containers) -> None:
    """A server never has its key in the argv."""
    service = Service(argv=("llama-server",), model="m", key_env="LLAMA_API_KEY")
    planned = containers.server(service, name="s", api_key="topsecret")
    assert "topsecret" not in " ".join(planned.argv)
    assert planned.argv[planned.argv.index("LLAMA_API_KEY") - 1 :][:2] == ("--env", "LLAMA_API_KEY")
    assert planned.env_additions["LLAMA_API_KEY"] == "topsecret"


def test_containers_detached_server_survives_a_reboot_and_has_no_owner(containers: Containers) -> None:
    """A detached server survives a reboot and has no owner."""
    planned = containers.server(Service(argv=("x",), model="m"), name="s", detach=True)
    assert "--rm" not in planned.argv
    assert planned.argv[planned.argv.index("--restart") + 1] == "unless-stopped"
    assert not any("owner" in word for word in planned.argv)


def test_containers_give_servers_and_steps_no_hub_token(
    containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers and steps get no hub token."""
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijkl")
    planned = containers.server(Service(argv=("x",), model="m"), name="s")
    assert not {"HF_TOKEN", "HUGGINGFACE_TOKEN"} & set(planned.argv)
    assert without_tokens({"HF_TOKEN": "hf_abc", "HOME": "/root"}) == {
        "HOME": "/root",
        "HF_TOKEN": "",
        "HUGGINGFACE_TOKEN": "",
    }


@pytest.mark.parametrize(
    ("address", "published"),
    [
        ("127.0.0.1", "127.0.0.1:8081:8081"),
        ("localhost", "127.0.0.1:8081:8081"),
        ("0.0.0.0", "0.0.0.0:8081:8081"),
        ("", "[::]:8081:8081"),
        ("::1", "[::1]:8081:8081"),
    ],
)
def test_containers_server_is_published_only_where_it_was_asked_for(
    containers: Containers, address: str, published: str
) -> None:
    """A server has a network of its own, of which one port is published at the address that was asked for."""
    place = containers.listening(address, 8081)
    assert place.host == "0.0.0.0"
    planned = containers.server(Service(argv=("x",), model="m"), name="s", listening=place)
    assert [planned.argv[planned.argv.index(name) + 1] for name in ("--network", "--publish")] == ["bridge", published]


def test_containers_server_at_a_name_stays_on_the_hosts_network(containers: Containers) -> None:
    """Only the server itself can compare a name of this machine with the one that a request asks for."""
    place = containers.listening("robot.example", 8081)
    assert (place.host, place.options) == ("robot.example", ("--network", "host"))


@pytest.mark.parametrize(
    ("l4t", "server", "network"),
    [
        ("36.4.3", "28.1.1", "host"),
        ("36.4.3", "27.5.1", "bridge"),
        ("36.4.3", "who knows", "bridge"),
        ("36.4.4", "28.1.1", "bridge"),
        ("35.6.1", "28.0.0+1", "host"),
    ],
)
def test_containers_server_has_the_hosts_network_where_the_kernel_gives_no_other(
    containers: Containers, l4t: str, server: str, network: str
) -> None:
    """Docker 28 cannot set up a network of its own on older kernels of L4T."""
    engine = FakeEngine(replace(FakeEngine().capabilities_, server_version=server))
    board = detect.parse_target(f"orin-nx-16gb,r{l4t}")
    on_board = replace(containers, platform=board, engine=engine)
    assert on_board.listening("127.0.0.1", 8080).options[1] == network


def test_containers_server_only_reads_the_data(containers: Containers) -> None:
    """A server reads /data; it writes its caches only, also that of MLC, which lies among the models."""
    service = Service(argv=("x",), model="m", env={"MLC_LLM_HOME": "/data/models/mlc/cache", "A": "b"})
    planned = containers.server(service, name="s")
    found = {mount.target: mount.readonly for mount in planned.mounts if mount.target.startswith("/data")}
    assert found == {"/data": True, "/data/cache": False, "/data/models/mlc/cache": False}
    assert planned.data is not None
    assert (planned.data / "models/mlc/cache").is_dir()


def test_containers_start_steps_where_they_may_write(containers: Containers) -> None:
    """A step begins in a folder that it may write: the image's root is not one, and /data is the user's."""
    argv = containers.plan("image:1", (), ("python3", "-c", "0"), env={}).argv
    assert argv[argv.index("--workdir") + 1] == "/tmp"
    served = containers.server(Service(argv=("x",), model="m"), name="s").argv
    assert "--workdir" not in served


def test_containers_have_the_engines_own_rights_where_asked(containers: Containers) -> None:
    """The setting `least_privilege: false` gives back the engine's own rights and the host's network."""
    values = {**containers.settings.values, "least_privilege": settings.Value(False, "test")}
    free = replace(containers, settings=settings.Settings(values, containers.settings.env))
    place = free.listening("127.0.0.1", 8080)
    assert (place.host, place.options) == ("127.0.0.1", ("--network", "host"))
    planned = free.server(Service(argv=("x",), model="m"), name="s", listening=place)
    assert {"--cap-drop", "--read-only", "--security-opt"}.isdisjoint(planned.argv)
    assert any(mount.target == "/data" and not mount.readonly for mount in planned.mounts)


def test_containers_name_of_a_step_is_the_same_each_time(containers: Containers) -> None:
    """A step's container has the same name each time."""
    step = CommandStep(name="quantize", argv=("q",), inputs=(), output="/data/m/b.gguf")
    assert containers.name_of(step) == containers.name_of(replace(step, argv=("r",)))
    assert containers.name_of(step) != containers.name_of(replace(step, output="/data/m/c.gguf"))


def test_containers_give_a_step_the_threads_that_were_asked_for(containers: Containers) -> None:
    """A step gets the threads that were asked for, and otherwise decides itself."""
    step = CommandStep(name="quantize", argv=("q",), inputs=(), output="/data/m/b.gguf", env={"A": "b"})
    assert containers.variables(step) == {"A": "b"}
    assert replace(containers, threads=2).variables(step) == {"OMP_NUM_THREADS": "2", "A": "b"}
    assert replace(containers, threads=2).variables(replace(step, env={"OMP_NUM_THREADS": "1"})) == {
        "OMP_NUM_THREADS": "1"
    }


def test_containers_log_has_a_place_where_the_logs_belong_to_another_user(
    context: LlmContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log has a place where the logs are another user's."""

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    assert log_of(context.settings, "s") == context.settings.path("logs") / "llm" / "s.log"
    monkeypatch.setattr(files, "open_no_link", refuse)
    log = log_of(context.settings, "s")
    assert log.is_file()
    assert not log.is_relative_to(context.settings.path("logs"))
    log.unlink()


def test_containers_mount_our_scripts_only_where_one_is_run(containers: Containers) -> None:
    """Our scripts are mounted only where one is run."""
    plain = containers.server(Service(argv=("llama-server", "-m", "x"), model="m"), name="s")
    driven = containers.server(Service(argv=("python3", f"{SCRIPTS_DIR}/transformers_server.py"), model="m"), name="s")
    assert not any(SCRIPTS_DIR in word for word in plain.argv)
    assert any(word.endswith(f":{SCRIPTS_DIR}:ro") for word in driven.argv)


@pytest.mark.parametrize(
    ("status", "labels", "is_running", "says"),
    [
        ("Up 2 hours", {}, True, "not one of our servers"),
        ("Exited (0) 2 days ago", {}, True, "not one of our servers"),
        ("Up 2 hours", OURS, False, "a running server"),
        ("Up 2 hours", OURS, True, ""),
        ("Exited (137) 2 days ago", OURS, False, ""),
    ],
)
def test_containers_claim_removes_only_a_server_of_ours(
    containers: Containers, docker: Docker, status: str, labels: dict[str, str], is_running: bool, says: str
) -> None:
    """Only a server of ours makes way for another."""
    docker.containers = {"mine": (status, labels), "mine2": (status, {})}
    with pytest.raises(UsageError, match=says) if says else contextlib.nullcontext():
        claim(server(containers), running=is_running)
    assert docker.removed == ([] if says else ["mine"])


def test_containers_running_removes_the_server_in_the_end(
    containers: Containers, docker: Docker, tmp_path: Path
) -> None:
    """A server that ran is removed."""
    with running(server(containers, "true", "run"), tmp_path / "log"):
        docker.containers["mine"] = ("Up 1 second", {**OURS, OWNER: owner()})
    assert docker.removed == ["mine"]


def test_containers_orphans_are_those_of_a_killed_process_of_this_user_and_machine(
    containers: Containers, docker: Docker
) -> None:
    """Orphans are the servers of a killed process of this user and machine."""
    pid, start, place = owner().split(".")
    owners = {
        "alive": f"{pid}.{start}.{place}",
        "orphan": f"{2**22 + 1}.{start}.{place}",
        "reused": f"{pid}.{int(start) + 1}.{place}",
        "elsewhere": f"{2**22 + 1}.{start}.0123456789ab",
    }
    docker.containers = {name: ("Up 1 hour", {OWNER: whose}) for name, whose in owners.items()}
    remove_orphans(client_for(containers.engine))
    assert docker.removed == ["orphan", "reused"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_containers_sigterm_and_sighup_end_the_work_in_order(number: signal.Signals) -> None:
    """SIGTERM and a lost terminal end the work in order."""
    before = signal.signal(number, signal.SIG_DFL)

    def work() -> None:
        with terminate_on_signals():
            os.kill(os.getpid(), number)
            threading.Event().wait(10)

    try:
        with pytest.raises(InterruptedByUserError, match=number.name):
            work()
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_containers_ignored_sighup_stays_ignored() -> None:
    """A process that ignores a lost terminal goes on."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminate_on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_containers_run_hides_secrets_of_an_env_file(context: LlmContext, tmp_path: Path) -> None:
    """Secrets of an .env file are not shown."""
    (tmp_path / ".env").write_text("MY_API_KEY=from-the-file\n")
    loaded = settings.load({"data": str(tmp_path)}, files=(), root=tmp_path)
    local = Local(
        platform=CPU,
        engine=FakeEngine(),
        settings=loaded,
        console=context.console,
        image="image:1",
        image_for=lambda _packages: "",
    )
    step = CommandStep(name="convert", argv=(), inputs=(), output="/data/x")
    code, text = local.run(step, ["echo", "it is from-the-file"], show=False)
    assert (code, text) == (0, "it is ***\n")
