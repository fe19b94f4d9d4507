"""The docker command lines, by list equality."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jetson_containers.core.errors import NotReadyError, UsageError
from jetson_containers.engine import argv
from jetson_containers.engine.interface import Builder, BuildRequest, Capabilities
from tests.fakes import CAPABILITIES

BUILDKIT = CAPABILITIES
LEGACY = replace(CAPABILITIES, builder=Builder.LEGACY)
BUILDX = replace(CAPABILITIES, builder=Builder.BUILDX)
REQUEST = BuildRequest(context=Path("/pkg"), dockerfile="FROM scratch\n", tag="a:1")
FULL = BuildRequest(
    context=Path("/pkg"),
    dockerfile="FROM scratch\n",
    tag="a:1",
    build_args={"Z": "1", "A": "with space"},
    labels={"k": "v", "a": '{"j": 1}'},
    platform="linux/arm64",
    no_cache=True,
    network="host",
    flags=("--squash", "--pull"),
    cache_from=("type=registry,ref=r/c:1",),
)


def build(capabilities: object, request: BuildRequest, **more: object) -> list[str]:
    return argv.build(capabilities, request, dockerfile="/tmp/D", context="/ctx", **more)  # type: ignore[arg-type]


def test_build_argv_of_a_plain_request() -> None:
    """A plain request gives a plain command line."""
    assert build(BUILDKIT, REQUEST) == [
        *("/usr/bin/docker", "build", "--tag", "a:1", "--file", "/tmp/D", "--network", "host", "/ctx")
    ]


def test_build_argv_of_buildx_uses_the_driver_of_the_local_store() -> None:
    """buildx is kept to the driver that sees the local store."""
    assert build(BUILDX, REQUEST, docker_context="remote") == [
        *("/usr/bin/docker", "buildx", "build", "--builder", "remote", "--load", "--tag", "a:1"),
        *("--file", "/tmp/D", "--network", "host", "/ctx"),
    ]


def test_build_argv_of_the_legacy_builder_with_all_options() -> None:
    """All that a legacy build can be told."""
    assert build(LEGACY, FULL, build_args={"Z": "2"}) == [
        *("/usr/bin/docker", "build", "--tag", "a:1", "--file", "/tmp/D"),
        *("--platform", "linux/arm64", "--network", "host", "--no-cache"),
        *("--cache-from", "r/c:1", "--build-arg", "A=with space", "--build-arg", "Z=2"),
        *("--label", 'a={"j": 1}', "--label", "k=v", "--force-rm"),
        *("--squash", "--pull", "/ctx"),
    ]


def test_build_argv_of_buildx_with_all_options() -> None:
    """All that a buildx build can be told."""
    request = replace(FULL, secrets=(("s", Path("/s")),), cache_to=("type=local,dest=/c", "type=inline"))
    assert build(BUILDX, request) == [
        *("/usr/bin/docker", "buildx", "build", "--builder", "default", "--load", "--tag", "a:1", "--file", "/tmp/D"),
        *("--platform", "linux/arm64", "--network", "host", "--no-cache"),
        *("--cache-from", "type=registry,ref=r/c:1", "--cache-to", "type=local,dest=/c"),
        *("--build-arg", "A=with space", "--build-arg", "BUILDKIT_INLINE_CACHE=1", "--build-arg", "Z=1"),
        *("--label", 'a={"j": 1}', "--label", "k=v", "--secret", "id=s,src=/s", "--squash", "--pull", "/ctx"),
    ]


@pytest.mark.parametrize("capabilities", [LEGACY, BUILDKIT, BUILDX])
def test_build_argv_of_another_number_of_jobs_differs_only_in_an_extra_host(capabilities: Capabilities) -> None:
    """Another number of jobs changes the address of an extra host and nothing else."""
    three, five = (build(capabilities, replace(REQUEST, jobs=jobs)) for jobs in (3, 5))
    plain = build(capabilities, REQUEST)
    at = three.index("--add-host")
    assert (three[at + 1], five[at + 1]) == ("jetson-max-jobs:0.0.0.3", "jetson-max-jobs:0.0.0.5")
    assert three[:at] + three[at + 2 :] == five[:at] + five[at + 2 :] == plain
    assert "jetson-max-jobs:0.0.0.255" in build(capabilities, replace(REQUEST, jobs=1000))


@pytest.mark.parametrize(
    ("capabilities", "change", "error"),
    [
        (LEGACY, {"secrets": (("s", Path("/s")),)}, NotReadyError),
        (LEGACY, {"cache_to": ("type=inline",)}, NotReadyError),
        (LEGACY, {"cache_from": ("type=local,src=/c",)}, NotReadyError),
        (BUILDKIT, {"cache_to": ("type=local,dest=/c",)}, NotReadyError),
        (BUILDKIT, {"secrets": (("s", Path("/a,b")),)}, UsageError),
    ],
)
def test_build_argv_refuses_what_the_builder_lacks(
    capabilities: object, change: dict[str, object], error: type[Exception]
) -> None:
    """What a builder cannot do is an error and not left out."""
    with pytest.raises(error):
        build(capabilities, replace(REQUEST, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("builder", "env"),
    [
        (Builder.LEGACY, {"DOCKER_BUILDKIT": "0"}),
        (Builder.BUILDKIT, {"DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"}),
        (
            Builder.BUILDX,
            {"DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"},
        ),
    ],
)
def test_builder_env_selects_the_builder(builder: Builder, env: dict[str, str]) -> None:
    """The environment selects the builder."""
    assert argv.builder_env(builder) == env


def test_sudo_argv_has_the_environment_as_words() -> None:
    """sudo gets the environment as words."""
    sudo = replace(LEGACY, sudo=True)
    assert build(sudo, REQUEST)[:5] == ["sudo", "env", "DOCKER_BUILDKIT=0", "/usr/bin/docker", "build"]
    assert argv.docker(sudo, "pull", "a:1") == ["sudo", "/usr/bin/docker", "pull", "a:1"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ["--name", "n"]),
        (("--rm", "-v", "/a:/b"), ["--name", "n", "-v", "/a:/b"]),
        (("--name", "mine"), ["--name", "mine"]),
        (("--name=mine", "--rm"), ["--name=mine"]),
    ],
)
def test_run_argv_names_the_container_and_does_not_remove_it(options: tuple[str, ...], expected: list[str]) -> None:
    """`docker run` names the container; the engine module removes it."""
    assert argv.run(BUILDKIT, "a:1", ["sh", "-c", "x y"], name="n", options=options) == [
        *("/usr/bin/docker", "run", *expected, "a:1", "sh", "-c", "x y")
    ]


def test_label_argv_reads_its_dockerfile_from_stdin() -> None:
    """Labelling reads its Dockerfile from the standard input."""
    assert argv.label(LEGACY, "a:2", {"b": "2", "a": "1"}, platform="linux/arm64") == [
        *("/usr/bin/docker", "build", "--tag", "a:2", "--network", "none", "--platform", "linux/arm64"),
        *("--label", "a=1", "--label", "b=2", "--force-rm", "-"),
    ]


def test_proxy_is_passed_by_name_for_its_address_may_hold_a_password() -> None:
    """A proxy is passed by name, since its address may hold a password."""
    proxy = "http://me:secret@proxy.example:3128"
    request = replace(REQUEST, build_args={"https_proxy": proxy, "HTTP_PROXY": proxy, "no_proxy": "a.example"})
    for capabilities in (LEGACY, BUILDKIT, BUILDX, replace(BUILDKIT, sudo=True)):
        command = build(capabilities, request)
        assert "secret" not in " ".join(command)
        assert command[command.index("https_proxy") - 1] == "--build-arg"
        assert "no_proxy=a.example" in command
    assert argv.by_name(request.build_args) == {"https_proxy": proxy, "HTTP_PROXY": proxy}
    assert "--preserve-env=HTTP_PROXY,https_proxy" in build(replace(LEGACY, sudo=True), request)
