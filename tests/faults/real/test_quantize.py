"""`llm quantize` in real containers, with programs that stand in for llama.cpp's: killed, at once, on bad disks."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.faults.real.mounts import fill, read_only, small_disk
from tests.faults.real.scene import LIMIT, Program, Scene, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.real.own_engine import OwnEngine

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300)]

STEPS = ("convert", "quantize")
# Each writes half of its output, waits where the test wants it, and writes the rest, which nobody could guess.
PROGRAM = r"""#!/bin/sh
out={out}
echo GGUF >"$out" || exit 1
echo "amid {step}"
while [ -e /data/hold-{step} ]; do sleep 0.1; done
cat /proc/sys/kernel/random/uuid >>"$out" || exit 1
"""
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 256,
    "max_position_embeddings": 512, "torch_dtype": "float16",
}  # fmt: skip


@pytest.fixture(scope="session")
def tools(own_engine: OwnEngine, scratch_base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with the two programs."""
    context = tmp_path_factory.mktemp("tools")
    for name, step, out in (("convert_hf_to_gguf.py", "convert", "$3"), ("llama-quantize", "quantize", "$2")):
        (context / name).write_text(PROGRAM.format(step=step, out=out))
        (context / name).chmod(0o755)
    (context / "Dockerfile").write_text(f"FROM {scratch_base}\nCOPY convert_hf_to_gguf.py llama-quantize /bin/\n")
    subprocess.run(["docker", "build", "--quiet", "--tag", "tools:1", "."], cwd=context, env=own_engine.env, check=True)
    return "tools:1"


class Quantizing(Scene):
    """A user with a tiny checkpoint."""

    image = ""

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def artifact(self) -> Path:
        return self.data / "models/llama_cpp/m/m-Q4_K_M.gguf"

    def prepare(self) -> None:
        place = self.data / "models/m"
        place.mkdir(parents=True)
        (place / "config.json").write_text(json.dumps(CONFIG))
        tensor = {"dtype": "F16", "shape": [256, 64], "data_offsets": [0, 32768]}
        head = json.dumps({"model.embed_tokens.weight": tensor}).encode()
        (place / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + bytes(32768))
        (place / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}}')
        (place / "tokenizer_config.json").write_text("{}")

    def words(self) -> list[str]:
        own = ("--target", "cpu", "--runtime", "llama_cpp", "--quantization", "Q4_K_M", "--image", self.image, "-v")
        return self.command("llm", "quantize", str(self.data / "models/m"), *own)

    def hold(self, step: str) -> Path:
        (self.data / f"hold-{step}").touch()
        return self.data / f"hold-{step}"

    def amid(self, step: str) -> Program:
        """A run that stands amid a step."""
        self.hold(step)
        program = self.start(self.words())
        program.wait_for(f"^amid {step}")
        return program

    def steps(self) -> list[str]:
        """Containers of steps that see this data."""
        listed = self.docker("ps", "--all", "--quiet", "--filter", f"volume={self.data}")
        return listed.split()

    def done(self) -> str:
        """A run finishes; the one after it makes nothing; nothing is left. What the run said."""
        for step in STEPS:
            (self.data / f"hold-{step}").unlink(missing_ok=True)
        done = self.run(self.words())
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(r"GGUF\n[0-9a-f-]{36}\n", self.artifact.read_text())
        before = self.artifact.read_text()
        again = self.run(self.words())
        assert again.returncode == 0, again.stderr
        assert "amid" not in again.stderr
        assert self.artifact.read_text() == before
        assert self.left() == []
        return done.stderr

    def left(self) -> list[str]:
        found = [str(path) for path in (*self.data.rglob("*.part"), *self.data.rglob(".*.*"))]
        return [*found, *self.steps(), *(str(path) for path in self.temporary.iterdir())]


@pytest.fixture
def quantizing(tmp_path: Path, own_engine: OwnEngine, tools: str) -> Iterator[Quantizing]:
    made = Quantizing(tmp_path, "")
    made.env["DOCKER_HOST"] = own_engine.address
    made.image = tools
    made.prepare()
    yield made
    for container in made.steps():
        made.docker("rm", "--force", container)
    made.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
@pytest.mark.parametrize("step", STEPS)
def test_quantize_that_is_killed_amid_a_step_does_only_that_again(
    quantizing: Quantizing, step: str, number: signal.Signals
) -> None:
    """The step that ran is done again, the one before it is not, and no container goes on writing."""
    program = quantizing.amid(step)
    program.send(number)
    assert program.ended() in {-9, 130}, program.said
    assert not quantizing.artifact.exists()
    if number is not signal.SIGKILL:
        assert quantizing.left() == []
    said = quantizing.done()
    assert [word for word in STEPS if f"amid {word}" in said] == list(STEPS[STEPS.index(step) :])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda n: n.name)
def test_quantize_that_is_killed_between_steps_goes_on(quantizing: Quantizing, number: signal.Signals) -> None:
    """At the end of a step."""
    quantizing.hold("quantize")
    program = quantizing.start(quantizing.words())
    program.wait_for("convert in ")
    program.send(number)
    assert program.ended() in {-9, 130, -15}, program.said
    assert "amid convert" not in quantizing.done()


@pytest.mark.parametrize("number", [pytest.param(2, marks=pytest.mark.quick), 3])
def test_quantize_at_once_makes_each_output_once(quantizing: Quantizing, number: int) -> None:
    """Runs of the same model at once take turns, and the later ones find what the first has made."""
    first = quantizing.amid("convert")
    others = [quantizing.start(quantizing.words()) for _ in range(number - 1)]
    for other in others:
        other.wait_for("waiting for another run")
    quantizing.hold("convert").unlink()
    programs = [first, *others]
    assert [program.ended() for program in programs] == [0] * number, "".join(p.said for p in programs)
    said = "".join(program.said for program in programs)
    assert [said.count(f"amid {step}") for step in STEPS] == [1, 1]
    quantizing.done()


def test_quantize_at_once_survives_one_that_is_killed(quantizing: Quantizing) -> None:
    """The run that makes the output is killed: the one that waits makes it."""
    first = quantizing.amid("convert")
    other = quantizing.start(quantizing.words())
    other.wait_for("waiting for another run")
    first.send(signal.SIGKILL)
    first.ended()
    quantizing.hold("convert").unlink()
    assert other.ended() == 0, other.said
    assert "amid convert" not in quantizing.done()


@pytest.mark.parametrize("step", STEPS)
def test_quantize_whose_engine_is_killed_goes_on(quantizing: Quantizing, own_engine: OwnEngine, step: str) -> None:
    """The engine is killed amid a step: one error; with the engine back, only this step is done again."""
    program = quantizing.amid(step)
    own_engine.end(signal.SIGKILL)
    code = program.ended()
    assert code in {1, 4}, program.said
    assert sum(line.startswith("error: ") for line in program.lines) == 1, program.said
    own_engine.start()
    said = quantizing.done()
    assert [word for word in STEPS if f"amid {word}" in said] == list(STEPS[STEPS.index(step) :])


@pytest.mark.parametrize("wrong", ["full", "read-only"])
@pytest.mark.parametrize("place", ["data/.locks", "cache", "logs", "tmp"])
def test_quantize_into_a_place_that_cannot_be_written_is_done_later(
    quantizing: Quantizing, place: str, wrong: str
) -> None:
    """A full or read-only folder of locks, cache, logs or temporary files."""
    with small_disk(quantizing.directory / place, "64k") as disk:
        if wrong == "full":
            filler = fill(disk)
            done = quantizing.run(quantizing.words())
            filler.unlink()
        else:
            with read_only(disk):
                done = quantizing.run(quantizing.words())
        assert done.returncode in {0, 1, 4}, done.stderr
        if done.returncode:
            assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1, done.stderr
            assert not quantizing.artifact.exists()
        quantizing.done()


def _manifest(change: Callable[[bytes], bytes]) -> Callable[[Quantizing], None]:
    def damage(quantizing: Quantizing) -> None:
        for path in quantizing.artifact.parent.rglob("*manifest.json"):
            path.write_bytes(change(path.read_bytes()))

    return damage


def _output(quantizing: Quantizing) -> None:
    quantizing.artifact.write_text("GGUF")


def _years(years: float) -> Callable[[Quantizing], None]:
    def damage(quantizing: Quantizing) -> None:
        for path in [*quantizing.artifact.parent.rglob("*")]:
            moment = path.stat().st_mtime + years * 365 * 86400
            os.utime(path, (moment, moment))

    return damage


DAMAGES: dict[str, tuple[Callable[[Quantizing], None], bool]] = {
    "output that is cut": (_output, True),
    "manifests that are cut": (_manifest(lambda content: content[: len(content) // 2]), True),
    "empty manifests": (_manifest(lambda _: b""), True),
    "manifests of zeros": (_manifest(lambda content: b"\0" * len(content)), True),
    "manifests of a newer version": (
        _manifest(lambda content: re.sub(rb'("schema": ?)[0-9]+', rb"\g<1>999", content)), False,
    ),
    "manifests of an older version": (
        _manifest(lambda content: re.sub(rb'("schema": ?)[0-9]+', rb"\g<1>0", content)), False,
    ),
    "outputs of ten years ago": (_years(-10), False),
    "outputs of the future": (_years(10), False),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_quantize_over_damaged_files_makes_them_again(quantizing: Quantizing, damage: str) -> None:
    """What is not whole is made again; another time, or version with all that is needed, makes nothing again."""
    quantizing.done()
    before = quantizing.artifact.read_text()
    change, again = DAMAGES[damage]
    change(quantizing)
    said = quantizing.done()
    assert ("amid quantize" in said) == again
    assert (quantizing.artifact.read_text() == before) != again


def test_quantize_leaves_no_lock_that_a_killed_run_held(quantizing: Quantizing) -> None:
    """The lock of a killed run is free at once: the next run does not wait."""
    program = quantizing.amid("convert")
    program.send(signal.SIGKILL)
    program.ended()
    wait_until(lambda: program.child.poll() is not None, LIMIT)
    assert "waiting for another run" not in quantizing.done()
