"""autotag with a real engine and a real registry: find, refuse, pull, pin, run."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from jetson_containers.autotag.search import find, options
from jetson_containers.core import settings
from jetson_containers.core.console import Console
from jetson_containers.core.errors import NoCompatibleImageError
from jetson_containers.engine.interface import BuildRequest
from jetson_containers.images import labels
from jetson_containers.platforms.detect import parse_target
from tests.real.conftest import LABEL, PREFIX, SESSION

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from jetson_containers.engine.docker import DockerEngine
    from tests.real.conftest import Registry

pytestmark = [pytest.mark.engine, pytest.mark.registry]
TAG = "1.0-x86_64-cpu-24.04"
# Named after this session: another run at the same time, or one that was killed, has images in the store too.
ALPHA, BETA, GAMMA = (f"{name}-{SESSION}" for name in ("alpha", "beta", "gamma"))


def make(engine: DockerEngine, base: str, name: str, context: Path, *packages: str, role: str = labels.FINAL) -> str:
    """Build a labeled image on the tiny base."""
    host = parse_target("x86_64,cpu")
    reference = f"{name}:{TAG}"
    marks = labels.make(role=role, name=reference, key=f"sha256:{role}", packages=packages, platform=host)
    text = f"FROM {base}\nRUN echo {name}\n"
    engine.build(
        BuildRequest(context=context, dockerfile=text, tag=reference, labels={**marks, LABEL: SESSION}),
        lambda _line: None,
    )
    return reference


def ask(engine: DockerEngine, tmp_path: Path, *request: str, target: str = "x86_64,cpu", **more: Any) -> str:
    made = settings.load({"cache": tmp_path / "cache"}, files=(), root=tmp_path)
    console = Console(out=io.StringIO(), err=io.StringIO(), env={})
    return find(request, parse_target(target), engine, made, console, options(made, **more))


@pytest.fixture(autouse=True)
def _this_machine(engine: DockerEngine) -> None:
    if engine.capabilities.architecture != "x86_64":
        pytest.skip("cannot run here: the images of these tests are built for x86_64")


def test_autotag_finds_a_local_image_with_all_packages(engine: DockerEngine, scratch_base: str, tmp_path: Path) -> None:
    """A local image with all packages is found."""
    both = make(engine, scratch_base, f"{PREFIX}/both", tmp_path, f"{ALPHA}:1", f"{BETA}:2")
    make(engine, scratch_base, f"{PREFIX}/beta", tmp_path, f"{BETA}:2")
    make(engine, scratch_base, f"{PREFIX}/stage-of-alpha", tmp_path, f"{ALPHA}:1", f"{BETA}:2", role=labels.STAGE)
    local: dict[str, Any] = {"prefer": ["local"]}
    assert ask(engine, tmp_path, ALPHA, BETA, **local) == both
    assert ask(engine, tmp_path, BETA, **local) == f"{PREFIX}/beta:{TAG}"
    with pytest.raises(NoCompatibleImageError) as caught:
        ask(engine, tmp_path, ALPHA, BETA, target="r36.4.3", **local)
    nearest = caught.value.details[0]
    assert nearest.startswith(f"nearest: {both}: made for x86_64")


def test_autotag_pulls_pins_and_runs_from_a_registry(
    engine: DockerEngine, scratch_base: str, registry: Registry, tmp_path: Path
) -> None:
    """An image of a registry is pulled, pinned and run."""
    name = f"{registry.host}/tools/{GAMMA}"
    reference = make(engine, scratch_base, name, tmp_path, f"{GAMMA}:1.0")
    engine.push(reference, lambda _line: None)
    engine.untag(reference)
    assert engine.image(reference) is None
    remote: dict[str, Any] = {"registries": (f"{registry.host}/tools",)}
    assert ask(engine, tmp_path, GAMMA, **remote) == reference
    assert engine.image(reference) is None  # nobody asked for a pull
    pinned = ask(engine, tmp_path, GAMMA, pin=True, **remote)
    assert pinned.startswith(f"{reference}@sha256:")
    assert ask(engine, tmp_path, GAMMA, yes=True, **remote) == reference
    assert engine.image(reference) is not None
    assert ask(engine, tmp_path, GAMMA, prefer=["local"], pin=True) == pinned
    assert engine.run(pinned, ["echo", "runs"]).output.strip() == "runs"
