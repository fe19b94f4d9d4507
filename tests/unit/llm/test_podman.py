"""`llm --podman`: the same containers, started, listed and ended with Podman."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.cli import main
from jetson_containers.cli.app import App
from jetson_containers.core import settings
from jetson_containers.core.console import Console
from jetson_containers.core.errors import UsageError
from jetson_containers.engine.interface import RunCapabilities
from jetson_containers.engine.podman_engine import PodmanEngine
from jetson_containers.llm import containers, image, serve, servers
from jetson_containers.llm.containers import Containers
from jetson_containers.llm.pipeline.types import CommandStep
from jetson_containers.llm.request import LlmRequest
from jetson_containers.llm.runtimes.interface import Service
from jetson_containers.platforms import detect
from tests.fakes import FakeEngine
from tests.unit.llm.fakes import no_engine

if TYPE_CHECKING:
    from jetson_containers.llm.context import LlmContext

ORIN = detect.parse_target("orin-nx-16gb,r36.4.3")
SERVICE = Service(argv=("llama-server", "-m", "/data/models/x.gguf"), model="x")
STEP = CommandStep(name="quantize", argv=("q",), inputs=("/data/models/x",), output="/data/models/y")
CAPABILITIES = RunCapabilities(
    client="/usr/bin/podman", sudo=False, runtimes=(), cdi_devices=("nvidia.com/gpu=all",), podman=True
)


@pytest.fixture
def podman(context: LlmContext, tmp_path: Path) -> LlmContext:
    """The context with the setting."""
    places = {name: str(tmp_path / name) for name in ("data", "logs", "cache")}
    return replace(context, settings=settings.load({**places, "podman": True}, files=()))


def made(podman: LlmContext, **changes: Any) -> Containers:
    engine = PodmanEngine(podman.data, {}, 0, no_engine)
    engine.run_capabilities = replace(CAPABILITIES, **changes)
    return Containers(
        platform=ORIN, engine=engine, settings=podman.settings, console=podman.console, image="llama_cpp:1",
        image_for=no_engine,
    )  # fmt: skip


def after(argv: tuple[str, ...], option: str) -> list[str]:
    return [argv[index + 1] for index, word in enumerate(argv) if word == option]


def test_podman_step_has_no_right_beyond_computing_and_writing_data(podman: LlmContext) -> None:
    """A step of quantizing gets the GPU by CDI, no capabilities, no network, and data that SELinux lets it read."""
    argv = made(podman).planned_step(STEP, STEP.argv).argv
    assert argv[:2] == ("/usr/bin/podman", "run")
    assert argv[-2:] == ("llama_cpp:1", "q")
    assert after(argv, "--device") == ["nvidia.com/gpu=all"]
    assert after(argv, "--cap-drop") == ["all"]
    assert after(argv, "--network") == ["none"]
    assert sorted(after(argv, "--security-opt")) == ["label=disable", "no-new-privileges"]
    assert not {"--gpus", "--runtime"} & set(argv)


def test_podman_server_is_published_from_a_network_of_its_own_and_starts_after_a_reboot(podman: LlmContext) -> None:
    """Podman starts only containers with the policy `always` after a reboot, and has `private` for a user too."""
    containers_ = made(podman)
    listening = containers_.listening("127.0.0.1", 8080)
    argv = containers_.server(SERVICE, name="s", detach=True, listening=listening).argv
    assert after(argv, "--network") == ["private"]
    assert after(argv, "--publish") == ["127.0.0.1:8080:8080"]
    assert after(argv, "--restart") == ["always"]
    assert "--rm" not in argv


def test_podman_of_a_user_keeps_that_user_in_the_container(podman: LlmContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root the caller's number stays the caller's, who owns the data; root needs no mapping."""
    assert not after(made(podman).server(SERVICE, name="s").argv, "--userns")
    for name in ("os.geteuid", "os.getuid"):
        monkeypatch.setattr(name, lambda: 1000)
    argv = made(podman, rootless=True).server(SERVICE, name="s").argv
    assert after(argv, "--userns") == ["keep-id"]
    assert after(argv, "--user")[0].startswith("1000:")
    assert after(argv, "--group-add") == ["keep-groups"]


@pytest.mark.parametrize("client", [("/usr/bin/podman",), ("sudo", "/usr/bin/docker")])
def test_podman_servers_are_ended_by_a_command_that_finds_them(client: tuple[str, ...]) -> None:
    """The command that is shown looks where the server runs."""
    shown = containers.stop_command(client, "s")
    assert shown == f"`jetson-containers llm stop s{' --podman' if len(client) == 1 else ''}`"


def test_podman_logs_have_no_tail_where_none_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Podman takes only numbers there."""
    asked: list[list[str]] = []

    def run(argv: list[str], **_: Any) -> Any:
        asked.append(argv)
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr("subprocess.run", run)
    server = servers.RunningServer(
        name="s", id="7f", status="running", since="", image="i", facts=servers.ServerFacts()
    )
    servers.logs(server, ("podman",))
    servers.logs(server, ("podman",), tail="3")
    assert asked == [["podman", "logs", "7f"], ["podman", "logs", "--tail", "3", "7f"]]


def test_podman_image_of_docker_is_copied_also_offline(podman: LlmContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that Docker has is not asked of a registry."""
    copied: list[str] = []
    engine = PodmanEngine(podman.data, {}, 0, no_engine)
    monkeypatch.setattr(PodmanEngine, "image", lambda *_: None)
    monkeypatch.setattr(PodmanEngine, "copy", lambda _self, name, *_: bool(copied.append(name)) or True)
    offline = settings.load({"offline": True}, files=())
    assert image.pull_missing("llama_cpp:1", engine, offline, podman.console) == "llama_cpp:1"
    assert copied == ["llama_cpp:1"]


@pytest.mark.parametrize("kind", ["compose", "systemd"])
def test_podman_has_no_service_files_of_docker(podman: LlmContext, kind: str) -> None:
    """Files that start Docker are refused, and Podman's own kinds named."""
    with pytest.raises(UsageError, match="for Docker") as caught:
        serve.serve(LlmRequest(model="tiny"), serve.ServeRequest(generate=kind), podman)
    assert "quadlet" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("words", "env"), [(["llm", "ps", "--podman"], ""), (["llm", "ps"], "1"), (["llm", "ps"], "0")]
)
def test_podman_is_chosen_by_the_option_and_by_the_setting(
    monkeypatch: pytest.MonkeyPatch, words: list[str], env: str
) -> None:
    """`--podman` and JETSON_CONTAINERS_PODMAN choose it for a command; otherwise Docker is asked."""
    asked: list[str] = []

    def listing(client: tuple[str, ...], *_: Any) -> list[Any]:
        asked.append(client[-1])
        return []

    monkeypatch.setenv("JETSON_CONTAINERS_PODMAN", env or "0")
    monkeypatch.setattr(containers, "inspected", listing)
    monkeypatch.setattr(containers, "docker", lambda *_: "")
    monkeypatch.setattr(App, "engine", FakeEngine())
    monkeypatch.setattr(PodmanEngine, "run_capabilities", CAPABILITIES)
    assert main.main(words) == 0
    chosen = "--podman" in words or env == "1"
    assert asked == ["/usr/bin/podman" if chosen else FakeEngine().run_capabilities.client]


def test_podman_dry_run_without_an_engine_shows_podman(podman: LlmContext) -> None:
    """On a machine without Podman the line is the one that Podman would get."""
    out = io.StringIO()
    gone = replace(podman, console=Console(out=out, err=io.StringIO()), engine=lambda: PodmanEngine(
        podman.data, {"PATH": ""}, 0, no_engine
    ))  # fmt: skip
    weights = podman.data / "models" / "x.gguf"
    weights.parent.mkdir(parents=True)
    weights.write_bytes((Path(__file__).parents[1] / "gguf" / "by-gguf-py.gguf").read_bytes())
    serve.serve(LlmRequest(model=str(weights)), serve.ServeRequest(), gone, dry_run=True)
    assert "\npodman run " in out.getvalue()
