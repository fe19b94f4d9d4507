"""What Docker says, told as one of our errors: each row was printed by a real engine or stands in a bug report."""

from __future__ import annotations

import pytest

from jetson_containers.core.errors import (
    BuildError,
    DiskSpaceError,
    EngineMissingError,
    EnginePermissionError,
    ImageInUseError,
    JetsonError,
    LayerBudgetError,
    NotReadyError,
    RegistryError,
    UsageError,
)
from jetson_containers.engine.interface import OutOfMemoryError
from jetson_containers.engine.messages import DETAIL_LINES, translate

STEP = "The command '/bin/sh -c make' returned a non-zero code: 2"
REGISTRY = 'Get "https://registry-1.docker.io/v2/": dial tcp'
CASES: list[tuple[str, type[JetsonError], str]] = [
    ("write /var/lib/docker/tmp/x: no space left on device", DiskSpaceError, "full"),
    (
        "unable to create temporary context directory: mkdir /t/docker-build-tempdockerfile-38: read-only file system",
        NotReadyError,
        "temporary files to `/t`: read-only",
    ),
    ("write /t/docker-build-tempdockerfile-3/Dockerfile: no space left on device", NotReadyError, "to `/t`: no space"),
    (f"tar: write error: No space left on device\n{STEP}", DiskSpaceError, "full"),
    ("Error response from daemon: unknown or invalid runtime name: nvidia", NotReadyError, "`nvidia`"),
    ("docker: Error response from daemon: Unknown runtime specified nvidia.", NotReadyError, "`nvidia`"),
    ('could not select device driver "" with capabilities: [[gpu]]', NotReadyError, "NVIDIA container toolkit"),
    (
        "Unable to enable DIRECT ACCESS FILTERING: iptables --wait -t raw: can't initialize iptables table `raw'",
        NotReadyError,
        "JetPack 6.2",
    ),
    ("docker: failed to set up container networking", NotReadyError, "JetPack 6.2"),
    ("Error response from daemon: max depth exceeded", LayerBudgetError, "125"),
    ("toomanyrequests: You have reached your pull rate limit.", RegistryError, "rate limit"),
    (
        "pull access denied for jetson-containers/stage, repository does not exist or may require 'docker login'",
        NotReadyError,
        "cannot see `jetson-containers/stage`",
    ),
    ("pull access denied for foo/bar, repository does not exist", RegistryError, "no such image"),
    (
        "pull access denied for x, repository does not exist or may require 'docker login': denied: requested access",
        RegistryError,
        "no such image",
    ),
    (
        'failed to resolve reference "docker.io/library/nope:1": docker.io/library/nope:1: not found',
        RegistryError,
        "no such image",
    ),
    ("denied: requested access to the resource is denied", RegistryError, "refuses this user"),
    ("Error response from daemon: manifest for a/b:1 not found: manifest unknown", RegistryError, "no such image"),
    ("no basic auth credentials", RegistryError, "refuses this user"),
    (f"{REGISTRY}: lookup registry-1.docker.io: no such host", RegistryError, "`registry-1.docker.io` cannot be"),
    (f"{REGISTRY} 1.2.3.4:443: connect: connection refused", RegistryError, "cannot be reached"),
    ("net/http: TLS handshake timeout", RegistryError, "in time"),
    ("http: server gave HTTP response to HTTPS client", RegistryError, "plain HTTP"),
    (
        "x509: certificate has expired or is not yet valid: current time 2015-01-01 is before 2026",
        RegistryError,
        "2015",
    ),
    ("tls: failed to verify certificate: x509: certificate signed by unknown authority", RegistryError, "not trusted"),
    ("permission denied while trying to connect to the Docker daemon socket", EnginePermissionError, "is not allowed"),
    ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", EngineMissingError, "answer"),
    ("exec /bin/sh: exec format error", NotReadyError, "another architecture"),
    ("ERROR: BuildKit is enabled but the buildx component is missing or broken.", NotReadyError, "buildx"),
    ("docker: Error response from daemon: No such image: a/b:1.", NotReadyError, "no image `a/b:1`"),
    (
        'conflict: cannot remove "a:1" (must force) - container f7e4 is using its referenced image',
        ImageInUseError,
        "the container `f7e4` uses",
    ),
    (
        "conflict: unable to delete 2d20 (cannot be forced) - image is being used by running container f7e4",
        ImageInUseError,
        "the container `f7e4` uses",
    ),
    ("unknown flag: --bogus", UsageError, "--bogus"),
    ("executor failed running [/bin/sh -c make]: exit code: 137", OutOfMemoryError, "memory"),
    ('process "/bin/sh -c x" did not complete successfully: exit code: 137', OutOfMemoryError, "memory"),
    (f"c++: fatal error: Killed signal terminated program cc1plus\n{STEP}", OutOfMemoryError, "memory"),
    (f"Killed\n{STEP}", OutOfMemoryError, "memory"),
    (STEP, BuildError, "building `x` failed"),
]


@pytest.mark.parametrize(("output", "error", "said"), CASES, ids=[case[0][:40] for case in CASES])
def test_translate_turns_messages_of_engines_into_errors(output: str, error: type[JetsonError], said: str) -> None:
    """A message of an engine becomes the matching error."""
    found = translate(output, "building `x`")
    assert type(found) is error
    assert said in found.message
    assert found.message.startswith("building `x`")
    assert bool(found.hint) == (type(found) is not BuildError)


@pytest.mark.parametrize(
    "printed",
    [
        "curl: (60) x509: certificate signed by unknown authority",
        "fatal: could not read Username: no basic auth credentials",
        "bash: unknown flag: --x",
        "error 401 unauthorized: bad token",
    ],
)
def test_translate_does_not_blame_the_engine_for_output_of_a_recipe(printed: str) -> None:
    """What a recipe's own command printed is not blamed on the engine."""
    assert type(translate(f"{printed}\n{STEP}")) is BuildError


def test_translate_ignores_a_kill_long_before_the_end() -> None:
    """A kill long before the end was survived."""
    lines = ["Killed", *(f"line {number}" for number in range(100)), STEP]
    assert type(translate("\n".join(lines))) is BuildError


def test_translate_keeps_the_last_lines() -> None:
    """The last lines are kept in the error."""
    found = translate("\n".join([*(f"line {number}" for number in range(50)), "", "last"]))
    assert len(found.details) == DETAIL_LINES
    assert found.details[-1] == "last"
