"""A bundle of a small image on the real engine, written, loaded and used in a network namespace without a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import JetsonError
from tests.real.conftest import LABEL, PREFIX, SESSION

if TYPE_CHECKING:
    from jetson_containers.engine.docker import DockerEngine

ROOT = Path(__file__).resolve().parents[2]
NAME = f"{PREFIX}/bundled"

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(600)]

RECIPE = f"""#---
# name: bundled
#---
ARG BASE_IMAGE
FROM ${{BASE_IMAGE}}
LABEL {LABEL}={SESSION}
RUN echo made >/made
"""


def run(folder: Path, *argv: str, network: bool) -> subprocess.CompletedProcess[str]:
    """Run a command line with a cache and data of its own; without a network in a namespace that has none."""
    env = {
        **os.environ,
        "JETSON_CONTAINERS_CACHE": str(folder / "cache"),
        "JETSON_CONTAINERS_DATA": str(folder / "data"),
        "JETSON_CONTAINERS_LOGS": str(folder / "logs"),
        "PYTHONPATH": str(ROOT),
    }
    words = [sys.executable, "-m", "jetson_containers", "--packages", str(folder / "tree"), *argv]
    without = [] if network else ["unshare", "--net"]
    return subprocess.run([*without, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder with a tree of one recipe and a model in the cache of the hub."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("cannot run here: a network namespace takes root and the program `unshare` (util-linux)")
    recipe = tmp_path / "tree" / "bundled"
    recipe.mkdir(parents=True)
    (recipe / "Dockerfile").write_text(RECIPE)
    model = tmp_path / "data/models/huggingface/models--org--tiny"
    (model / "blobs").mkdir(parents=True)
    (model / "blobs/ab").write_text("weights")
    (model / "snapshots/1").mkdir(parents=True)
    (model / "snapshots/1/model.bin").symlink_to("../../blobs/ab")
    return tmp_path


def remove(engine: DockerEngine, base: str) -> None:
    """Remove the image, its stages and its base from the store, as on a machine that never had them."""
    for image in engine.images({LABEL: SESSION}):
        for name in image.references:
            if "bundled" in name or name == base:
                engine.untag(name)


def test_bundle_is_all_that_a_machine_without_a_network_needs(
    engine: DockerEngine, scratch_base: str, machine: Path
) -> None:
    """The image, its build and a container work from the file alone; an interrupted write goes on."""
    base = f"{PREFIX}/bundle-base:1"
    engine.tag(scratch_base, base)
    file = machine / "image.bundle"
    words = ("bundle", "bundled", "--base", base, "--name", NAME, "--model", "org/tiny", "-o", str(file))
    done = run(machine, *words, network=True)
    assert done.returncode == 0, done.stderr
    complete = file.read_bytes()
    file.unlink()
    (machine / "image.bundle.partial").write_bytes(complete[: len(complete) * 2 // 3])
    done = run(machine, *words, network=True)
    assert "parts of an earlier try kept" in done.stderr, done.stderr
    assert file.read_bytes() == complete
    remove(engine, base)
    assert engine.image(base) is None

    there = machine / "there"
    shutil.copytree(machine / "tree", there / "tree")
    done = run(there, "bundle", "load", str(file), "--json", network=False)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (there / "data/models/huggingface/models--org--tiny/snapshots/1/model.bin").read_text() == "weights"
    built = run(there, "--offline", "build", "--locked", shown["lock"], "--json", network=False)
    assert built.returncode == 0, built.stderr
    assert [stage["state"] for stage in json.loads(built.stdout)["stages"]] == ["cached"]
    tagged = run(there, "--offline", "autotag", "bundled", "--quiet", network=False)
    assert tagged.stdout.strip() == shown["image"], tagged.stderr
    started = run(there, "--offline", "run", shown["image"], "cat", "/made", network=False)
    assert started.stdout.strip().endswith("made"), started.stderr

    damaged = bytearray(complete)
    damaged[complete.index(b"images/001-") + 512] ^= 1
    file.write_bytes(damaged)
    refused = run(there, "bundle", "load", str(file), network=False)
    assert refused.returncode == 4
    assert "its part `images/001-" in refused.stderr
    try:
        remove(engine, base)
    except JetsonError as error:
        pytest.fail(error.message)
