"""Devices that MLC compiles for, and the tools that they need."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from jetson_containers.llm.runtimes.interface import Target
from jetson_containers.llm.runtimes.mlc import devices
from tests.unit import mlc_options
from tests.unit.llm.runtimes.mlc.helpers import MLC, RUNTIME, job, target

if TYPE_CHECKING:
    from pathlib import Path


MODES = [("orin-jp5", "q4f16_ft"), ("xavier-jp5", "q4f16_1"), ("orin-jp6", "q4f16_1"), ("x86-cu129", "q4f16_1")]


@pytest.mark.parametrize(("on", "default"), MODES)
def test_mlc_default_mode_runs_on_the_device(on: str, default: str) -> None:
    """The default mode runs on the device."""
    names = RUNTIME.quantizations(target(on))
    assert names[0] == default
    assert len(names) == len(set(names))
    old = on.endswith("jp5")
    assert set(names) == (mlc_options.OLD_QUANTIZATIONS if old else mlc_options.NEW_QUANTIZATIONS)
    assert RUNTIME.check(job(on=on)).ok


LIBRARIES = [
    ("cuda", "-cuda.so", "--device cuda"),
    ("vulkan", "-vulkan.so", "--device vulkan"),
    ("windows", "-vulkan.dll", "--device vulkan --host x86_64-pc-windows-msvc"),
    ("metal", "-metal.so", "--device metal --host arm64-apple-darwin"),
    ("metal:x86-64", "-metal_x86_64.dylib", "--device metal:x86-64 --host x86_64-apple-darwin"),
    ("iphone", "-iphone.tar", "--device iphone"),
    ("android", "-android.tar", "--device android"),
    ("webgpu", "-webgpu.wasm", "--device webgpu"),
    ("CUDA:0", "-cuda.so", "--device cuda"),
    ("ios", "-iphone.tar", "--device iphone"),
]


@pytest.mark.parametrize(("device", "suffix", "words"), LIBRARIES)
def test_mlc_devices_have_their_suffix_and_host(device: str, suffix: str, words: str) -> None:
    """Each device has its suffix and host."""
    step = RUNTIME.steps(job(device=device))[-1]
    assert step.output.endswith("q4f16_1" + suffix)
    assert f"{words} --opt O2" in shlex.join(step.argv)


def test_mlc_host_of_the_user_wins() -> None:
    """A host is the user's to choose."""
    step = RUNTIME.steps(job(device="vulkan", host="x86_64-pc-windows-msvc"))[-1]
    assert step.output.endswith("-vulkan.dll")
    other = RUNTIME.steps(job(device="android", host="aarch64-linux-android24", system_lib_prefix="llama_"))[-1]
    assert "--host aarch64-linux-android24 --opt O2 --system-lib-prefix llama_" in shlex.join(other.argv)
    assert other.options["host"] == "aarch64-linux-android24"
    shared = job(system_lib_prefix="llama_")
    assert "--system-lib-prefix" not in RUNTIME.steps(shared)[-1].argv
    assert "has no effect on `cuda`" in MLC.notices(shared)[0]


@pytest.mark.parametrize("place", sorted(devices.targets()))
def test_mlc_missing_toolchain_is_named_with_a_remedy(place: str) -> None:
    """What a device lacks is named with a remedy."""
    where = devices.targets()[place]
    for tool in devices.toolchains(where):
        for answer, ok in (("found\n", True), ("missing\n", False), ("sh: xcrun: not found", False)):
            probed = {" ".join(tool.probe): answer}
            verdict = RUNTIME.check(
                job(device=place, target=Target(platform=target("orin-jp6").platform, probed=probed))
            )
            assert verdict.ok is ok
            assert ok or (tool.missing in verdict.reason and tool.remedy == verdict.instead)
    assert bool(devices.toolchains(where)) == (place not in {"cuda", "cpu"})


def test_mlc_toolchain_probes_are_shell_that_answers(tmp_path: Path) -> None:
    """They run here; the answer depends on the machine, its form does not."""
    (tmp_path / "web" / "dist" / "wasm").mkdir(parents=True)
    (tmp_path / "web" / "dist" / "wasm" / "mlc_wasm_runtime.bc").touch()
    for name in ("emcc", "xcrun", "x86_64-w64-mingw32-clang"):
        (tmp_path / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    there = {"PATH": f"{tmp_path}:/usr/bin:/bin", "MLC_LLM_SOURCE_DIR": str(tmp_path), "ANDROID_NDK": str(tmp_path)}
    for place in ("iphone", "android", "webgpu"):
        for tool in devices.toolchains(devices.targets()[place]):
            for env, answer in ((there, "found"), ({"PATH": "/usr/bin:/bin"}, "missing")):
                done = subprocess.run(tool.probe, env=env, capture_output=True, text=True, check=False)
                assert done.stdout == answer + "\n", (tool.name, done)
