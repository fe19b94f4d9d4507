"""Images for boards, built on another architecture by emulation."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from jetson_containers.engine.docker import DockerEngine

pytestmark = [pytest.mark.engine, pytest.mark.arm64, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
HEAD = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"


def recipe(tree: Path, name: str, body: str, depends: str = "", test: str = "") -> None:
    folder = tree / name
    folder.mkdir(parents=True)
    rows = [f"name: {name}", *([f"depends: [{depends}]"] if depends else []), *(["test: check"] if test else [])]
    (folder / "Dockerfile").write_text("#---\n" + "".join(f"# {row}\n" for row in rows) + f"#---\n{HEAD}{body}\n")
    if test:
        (folder / "check").write_text(f"#!/bin/sh\n{test}\n")
        (folder / "check").chmod(0o755)


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    places = {f"JETSON_CONTAINERS_{name}": str(folder / name.lower()) for name in ("DATA", "LOGS", "CACHE")}
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "main.py"), *words],
        env={**os.environ, "HOME": str(folder), **places}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_cross_build_of_five_stages_runs_and_defers_tests_that_need_a_gpu(
    tmp_path: Path, engine: DockerEngine, arm64_base: str
) -> None:
    """An image for L4T 36.4.0 is built by emulation and run; what needs a GPU is deferred, and refused here."""
    tree, nonce = tmp_path / "tree", secrets.token_hex(6)
    recipe(tree, "one", f"ENV NONCE={nonce}\nRUN uname -m > /one", test='[ "$(uname -m)" = aarch64 ]')
    recipe(tree, "two", "RUN cat /one > /two", "one", test="cat /two")
    recipe(tree, "three", "RUN cat /two > /three", "two", test="echo no GPU here; exit 77")
    recipe(tree, "four", "RUN cat /three > /four", "three")
    recipe(tree, "five", "RUN echo five $(cat /four) > /five", "four")
    name = ("--name", f"jc-cross-{nonce}/", "--base", arm64_base, "--target", "r36.4.0", "--packages", str(tree))
    built = run(tmp_path, "build", "--json", "five", *name)
    assert built.returncode == 0, built.stderr
    report = json.loads(built.stdout)
    assert [(stage["package"], stage["state"], stage["tests"]) for stage in report["stages"]] == [
        ("one", "built", "passed"),
        ("two", "built", "passed"),
        ("three", "built", "deferred"),
        ("four", "built", "none"),
        ("five", "built", "none"),
    ]
    (final,) = report["images"]
    image = engine.image(final)
    assert image is not None
    assert image.architecture == "arm64"
    assert json.loads(image.labels["io.jetson-containers.tests"])["status"] == "deferred"
    shown = engine.run(final, ["cat", "/five"], options=["--platform", "linux/arm64"])
    assert shown.output.split() == ["five", "aarch64"]
    refused = run(tmp_path, "verify", final, "--packages", str(tree))
    assert refused.returncode == 4
    assert "does not run on this machine" in refused.stderr
