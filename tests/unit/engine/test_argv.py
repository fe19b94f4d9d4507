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
REQUEST = BuildRequest(Path("/pkg"), "FROM scratch\n", "a:1")
FULL = BuildRequest(
    Path("/pkg"),
    "FROM scratch\n",
    "a:1",
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


def test_a_plain_build() -> None:
    assert build(BUILDKIT, REQUEST) == [
        *("/usr/bin/docker", "build", "--tag", "a:1", "--file", "/tmp/D", "--network", "host", "/ctx")
    ]


def test_buildx_is_kept_to_the_driver_that_sees_the_local_store() -> None:
    assert build(BUILDX, REQUEST, docker_context="remote") == [
        *("/usr/bin/docker", "buildx", "build", "--builder", "remote", "--load", "--tag", "a:1"),
        *("--file", "/tmp/D", "--network", "host", "/ctx"),
    ]


def test_everything_a_legacy_build_can_be_told() -> None:
    assert build(LEGACY, FULL, build_args={"Z": "2"}) == [
        *("/usr/bin/docker", "build", "--tag", "a:1", "--file", "/tmp/D"),
        *("--platform", "linux/arm64", "--network", "host", "--no-cache"),
        *("--cache-from", "r/c:1", "--build-arg", "A=with space", "--build-arg", "Z=2"),
        *("--label", 'a={"j": 1}', "--label", "k=v", "--force-rm"),
        *("--squash", "--pull", "/ctx"),
    ]


def test_everything_a_buildx_build_can_be_told() -> None:
    request = replace(FULL, secrets=(("s", Path("/s")),), cache_to=("type=local,dest=/c", "type=inline"))
    assert build(BUILDX, request) == [
        *("/usr/bin/docker", "buildx", "build", "--builder", "default", "--load", "--tag", "a:1", "--file", "/tmp/D"),
        *("--platform", "linux/arm64", "--network", "host", "--no-cache"),
        *("--cache-from", "type=registry,ref=r/c:1", "--cache-to", "type=local,dest=/c"),
        *("--build-arg", "A=with space", "--build-arg", "BUILDKIT_INLINE_CACHE=1", "--build-arg", "Z=1"),
        *("--label", 'a={"j": 1}', "--label", "k=v", "--secret", "id=s,src=/s", "--squash", "--pull", "/ctx"),
    ]


@pytest.mark.parametrize("capabilities", [LEGACY, BUILDKIT, BUILDX])
def test_another_number_of_jobs_changes_nothing_but_the_address_of_an_extra_host(capabilities: Capabilities) -> None:
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
def test_what_a_builder_cannot_do_is_said_not_dropped(
    capabilities: object, change: dict[str, object], error: type[Exception]
) -> None:
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
def test_the_environment_selects_the_builder(builder: Builder, env: dict[str, str]) -> None:
    assert argv.builder_env(builder) == env


def test_sudo_gets_the_environment_as_words() -> None:
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
def test_run_names_the_container_and_leaves_its_removal_to_us(options: tuple[str, ...], expected: list[str]) -> None:
    assert argv.run(BUILDKIT, "a:1", ["sh", "-c", "x y"], name="n", options=options) == [
        *("/usr/bin/docker", "run", *expected, "a:1", "sh", "-c", "x y")
    ]


def test_labelling_reads_its_dockerfile_from_stdin() -> None:
    assert argv.label(LEGACY, "a:2", {"b": "2", "a": "1"}, platform="linux/arm64") == [
        *("/usr/bin/docker", "build", "--tag", "a:2", "--network", "none", "--platform", "linux/arm64"),
        *("--label", "a=1", "--label", "b=2", "--force-rm", "-"),
    ]


def test_a_proxy_goes_by_name_because_its_address_may_hold_a_password() -> None:
    proxy = "http://me:secret@proxy.example:3128"
    request = replace(REQUEST, build_args={"https_proxy": proxy, "HTTP_PROXY": proxy, "no_proxy": "a.example"})
    for capabilities in (LEGACY, BUILDKIT, BUILDX, replace(BUILDKIT, sudo=True)):
        command = build(capabilities, request)
        assert "secret" not in " ".join(command)
        assert command[command.index("https_proxy") - 1] == "--build-arg"
        assert "no_proxy=a.example" in command
    assert argv.by_name(request.build_args) == {"https_proxy": proxy, "HTTP_PROXY": proxy}
    assert "--preserve-env=HTTP_PROXY,https_proxy" in build(replace(LEGACY, sudo=True), request)
