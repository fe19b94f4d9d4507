"""What a dry run prints can be pasted."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.console import Console
from jetson_containers.core.errors import EngineMissingError
from jetson_containers.engine.owner import OWNER
from jetson_containers.llm import containers, prepare, serve, shown_commands
from jetson_containers.llm.prepare import Goal
from jetson_containers.llm.request import LlmRequest
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.llm.context import LlmContext

FAKE = """#!/bin/sh
for word; do echo " $word"; done >>"$RECORD"
if [ "$1" = autotag ]; then echo the/image:1; fi
"""


@pytest.fixture
def here(context: LlmContext) -> LlmContext:
    """A machine without an engine."""
    return replace(context, engine=lambda: FakeEngine(missing=EngineMissingError("no container engine")))


def printed(context: LlmContext) -> list[str]:
    assert isinstance(context.console.out, io.StringIO)
    return context.console.out.getvalue().splitlines()


def pasted(lines: list[str], folder: Path, **more: str) -> list[str]:
    """What programs got when a shell read the lines; `docker` and `jetson-containers` only write down their words."""
    for name in ("docker", "jetson-containers"):
        (folder / name).write_text(FAKE)
        (folder / name).chmod(0o755)
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "RECORD": str(folder / "record"), **more}
    subprocess.run(["sh", "-eu"], input="\n".join(lines), text=True, env=environment, check=True, cwd=folder)
    return (folder / "record").read_text().splitlines()


def test_shown_commands_run_in_a_shell_that_they_are_pasted_into(here: LlmContext, tmp_path: Path) -> None:
    """Every line is taken by a shell, the image is found then, and folders are there before docker writes to them."""
    wanted = serve.ServeRequest(port=8123, detach=True, api_key_env="MY_KEY")
    serve._show_dry(prepare.plan(LlmRequest(model="tiny", quantization="Q8_0"), here), wanted, here)
    assert not here.data.exists()
    lines = printed(here)
    words = pasted(lines, tmp_path, MY_KEY="sesame")
    assert words.count(" autotag") == words.count(" the/image:1") == 4
    assert (here.data / "models/llama_cpp/tiny-llama").is_dir()
    assert " 127.0.0.1:8123:8123" in words
    assert " --detach" in words
    assert " -i" not in words  # it would swallow the lines behind it
    assert "sesame" not in " ".join([*lines, *words])
    assert 'export LLAMA_API_KEY="$MY_KEY"' in lines
    assert not any(OWNER in word for word in words)


def test_shown_commands_mark_what_is_done(here: LlmContext) -> None:
    """A finished step is a comment, and so is one that nothing needs any more."""
    request = LlmRequest(model="tiny", quantization="Q8_0")
    decision = prepare.plan(request, here, Goal.QUANTIZED)
    shown_commands.show_prepared(decision, here)
    assert sum(line.startswith("docker run ") for line in printed(here)) == 3
    last = decision.steps[-1]
    pipeline = prepare.Pipeline(data=here.data, runner=None, console=here.console, origin=decision.model.origin)  # type: ignore[arg-type]
    output = here.data / last.output.removeprefix("/data/")
    output.parent.mkdir(parents=True)
    output.write_text("x")
    from jetson_containers.llm.pipeline import manifest

    manifest.write(
        output, {"": manifest.measure(output)}, step=last.name, merge=False, key=pipeline.keys(decision.steps)[-1],
        seconds=1.0, facts={},
    )  # fmt: skip
    again = replace(here, console=Console(out=io.StringIO(), err=io.StringIO()))
    shown_commands.show_prepared(decision, again)
    assert printed(again) == [
        "# make: not needed (/data/models/tiny-llama)",
        "# convert: not needed (/data/models/llama_cpp/tiny-llama/tiny-llama-F16.gguf)",
        "# quantize: done (/data/models/llama_cpp/tiny-llama/tiny-llama-Q8_0.gguf)",
    ]


def test_shown_commands_keep_the_keys_of_their_json(here: LlmContext) -> None:
    """The JSON has the words of the container as before, and beside them the whole lines."""
    console = Console(out=io.StringIO(), err=io.StringIO(), as_json=True)
    request = LlmRequest(model="tiny", image="mine:1", quantization="F16")
    shown_commands.show_session(prepare.plan(request, here), replace(here, console=console))
    shown = json.loads(console.out.getvalue())  # type: ignore[union-attr]
    assert shown["steps"][0]["argv"] == ["make-tiny-model", "/data/models/tiny-llama"]
    assert [step["state"] for step in shown["steps"]] == ["run", "run"]
    assert "llama-server" in shown["command"]
    words = shlex.split(shown["shell"][-1])
    assert words[words.index("mine:1") + 1 :] == shown["command"]


def test_shown_commands_name_downloads_and_links_of_the_host(here: LlmContext) -> None:
    """A download is made by our own command, a link by `ln` at the place on the host."""
    from jetson_containers.llm.pipeline.types import DownloadStep, LinkStep

    made = containers.Containers(
        platform=here.platform, engine=FakeEngine(), settings=here.settings, console=here.console, image="i:1",
        image_for=lambda _packages: "i:1", dry_run=True,
    )  # fmt: skip
    fetched = DownloadStep(
        argv=("huggingface-downloader", "org/model", "--include", "a b"), output="/data/x", is_done=lambda: False,
        fetch=lambda: None,
    )  # fmt: skip
    assert shown_commands._commands(fetched, made) == ["jetson-containers download org/model --include 'a b'"]
    link = LinkStep(name="link", target="/data/a", output="/data/b/c")
    assert shown_commands._commands(link, made) == [
        f"mkdir -p {here.data}/b", f"ln -sfn {here.data}/a {here.data}/b/c",
    ]  # fmt: skip
