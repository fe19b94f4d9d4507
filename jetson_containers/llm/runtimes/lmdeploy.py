"""LMDeploy's TurboMind engine: converted directories up to 0.2.x (JetPack 5), Hugging Face directories since 0.10.

0.2.x on Jetson has no PyTorch engine and no server of its own that works without one, so it gets ours around
`TurboMind.stream_infer`. Commands and options were checked against 0.2.5 and 0.16.0.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from jetson_containers.llm.pipeline.types import CommandStep
from jetson_containers.llm.runtimes import calibration, support_table
from jetson_containers.llm.runtimes.calibration import OFFLINE
from jetson_containers.llm.runtimes.common import (
    TableRuntime,
    context,
    listen_options,
    prefill,
    script,
    trust_options,
    with_key_option,
)
from jetson_containers.llm.runtimes.interface import JobVerdict, Service

if TYPE_CHECKING:
    from jetson_containers.llm.runtimes.interface import Job, ServeOptions

GROUP = "128"
LENGTH = 2048  # tokens per calibration sample, as in the project's own procedure for Jetson

# 0.2.5 asks for the name of a conversation template, which also says how the checkpoint is laid out: what the model's
# name contains, by family, most special first (lmdeploy/model.py of 0.2.5).
TEMPLATES: dict[str, tuple[tuple[str, str], ...]] = {
    "internlm2": ((r"chat", "internlm2-chat-7b"), (r"", "internlm2-7b")),
    "internlm": ((r"chat-20b", "internlm-chat-20b"), (r"chat-7b-8k", "internlm-chat-7b-8k"),
                 (r"chat", "internlm-chat-7b"), (r"20b", "internlm-20b"), (r"", "internlm")),
    "qwen": ((r"14b", "qwen-14b"), (r"", "qwen-7b")),
    "baichuan": ((r"baichuan-?2", "baichuan2-7b"), (r"", "baichuan-7b")),
    "llama": ((r"code-?llama", "codellama"), (r"llama-?2", "llama2"), (r"vicuna", "vicuna"), (r"wizard", "wizardlm"),
              (r"\byi\b", "yi"), (r"deepseek", "deepseek-chat"), (r"solar", "solar"), (r"", "llama")),
}  # fmt: skip


class Lmdeploy(TableRuntime):
    """4-bit AWQ weights and a fast engine of its own."""

    name = "lmdeploy"
    summary = "TurboMind: 4-bit AWQ weights, fast on Xavier and Orin"
    probes: tuple[tuple[str, ...], ...] = (("lmdeploy", "--help"),)
    chat_templates = True
    batches = True

    def check(self, job: Job) -> JobVerdict:
        """Judge; which calibration sets there are depends on the version."""
        job = _with_probed_version(job)
        found = support_table.verdict(self.name, job, chat_templates=True)
        if not found.ok:
            return found
        makes = support_table.quantization(self.name, job)
        named = _named(self.row(job).kind) if makes and makes.name == "w4a16" else ()
        return calibration.check(self.name, named, job)

    def steps(self, job: Job) -> tuple[CommandStep, ...]:
        """Quantize where 4 bits are wanted; up to 0.2.x convert to the engine's layout and limit its cache."""
        job = _with_probed_version(job)
        wanted = self.quantization(job)
        if job.prepared:
            return ()
        old = self.row(job).kind == "old"
        done: list[CommandStep] = []
        if wanted.name == "w4a16" and not support_table.served_as_is(job):
            done.append(self._awq(job, old=old))
        if old:
            done.append(self._convert(job, done[0].output if done else job.source))
        return tuple(done)

    def artifact(self, job: Job) -> str:
        """What the last step made; a checkpoint that needs none is loaded where it is."""
        steps = self.steps(job)
        return steps[-1].output if steps else job.source

    def serve(self, job: Job, options: ServeOptions) -> Service:
        """Serve with session length, batch, prefill and the cache's share of the free memory always set."""
        job = _with_probed_version(job)
        share = f"{support_table.kv_cache(job.target.platform):.2f}"
        session = ("--session-len", str(context(job)), "--cache-max-entry-count", share)
        batch = ("--max-batch-size", str(job.max_batch))
        if self.row(job).kind == "old":
            argv = (
                *script("lmdeploy_server.py"), self.artifact(job), "--model-id", job.name, *listen_options(options),
                *session, *batch, "--max-prefill-token-num", str(prefill(job)),
            )  # fmt: skip
            return Service(argv=argv, model=job.name, checked=True)
        template = ("--chat-template", job.conv_template) if job.conv_template else ()
        argv = (
            "lmdeploy", "serve", "api_server", self.artifact(job), "--backend", "turbomind",
            "--model-format", self._format(job), "--model-name", job.name,
            "--server-name", options.host, "--server-port", str(options.port),
            *session, *batch, "--max-prefill-token-num", str(prefill(job)), *template, *trust_options(job),
        )  # fmt: skip
        return Service(
            argv=with_key_option(argv, options, "--api-keys"), model=job.name, measure={"ignore_eos": True}, env=OFFLINE
        )

    def _format(self, job: Job) -> str:
        if job.config is not None and job.config.quantized is not None:
            return job.config.quantized.method
        return "awq" if self.quantization(job).name == "w4a16" else "hf"

    def _awq(self, job: Job, *, old: bool) -> CommandStep:
        """`lite auto_awq`; text that is not one of its named sets is passed by our script."""
        output = self.output_path(job) + ("-hf" if old else "")
        argv: tuple[str, ...] = (
            "lmdeploy", "lite", "auto_awq", job.source, "--calib-samples", str(calibration.samples(job)),
            "--calib-seqlen", str(LENGTH), "--w-bits", "4", "--w-group-size", GROUP, "--work-dir", "{output}",
            *(() if old else ("--batch-size", "1", *trust_options(job))),
        )  # fmt: skip
        if calibration.network(job):
            argv += ("--calib-dataset", job.calibration)
        else:
            argv = (*script("lmdeploy_awq.py"), "--calibration", calibration.text(job), "--", *argv)
        return calibration.step(job, argv, output)

    def _convert(self, job: Job, source: str) -> CommandStep:
        """`lmdeploy convert`, then the lines of config.ini that no option reaches.

        With `cache_chunk_size` 1 the cache grows by the blocks that are used instead of taking its share at once.
        """
        share = f"{support_table.kv_cache(job.target.platform):g}"
        four = self._format(job) == "awq"
        argv = (
            *script("lmdeploy_config.py"), "{output}", "--set", f"cache_max_entry_count={share}",
            "cache_block_seq_len=128", "cache_chunk_size=1", "--",
            "lmdeploy", "convert", template(job), source, "--model-format", "awq" if four else "hf",
            *(("--group-size", GROUP) if four else ()), "--dst-path", "{output}",
        )  # fmt: skip
        output = (
            self.output_path(job)
            if not support_table.served_as_is(job)
            else f"/data/models/{self.name}/{job.name}-turbomind"
        )
        return CommandStep(name="convert", argv=argv, inputs=(source,), output=output, env=OFFLINE)


def template(job: Job) -> str:
    """The template name 0.2.x wants: what was asked for, else by family and name."""
    if job.conv_template:
        return job.conv_template
    family = job.config.model_type if job.config else ""
    for pattern, name in TEMPLATES.get(family, ()):
        if re.search(pattern, job.name, re.IGNORECASE):
            return name
    return "base"


def _named(kind: str) -> tuple[str, ...]:
    """The calibration sets of `lite auto_awq`, its default first."""
    if kind == "old":
        return ("ptb", "wikitext2", "c4", "pileval")
    return ("wikitext2", "c4", "pileval", "gsm8k", "neuralmagic_calibration", "open-platypus", "openwebtext")


def _with_probed_version(job: Job) -> Job:
    """Where the image's version is not known, what its `--help` lists decides: `convert` was removed in 0.10."""
    printed = job.target.probed.get("lmdeploy --help", "")
    if "lmdeploy" in job.target.versions or not printed:
        return job
    version = "0.2.5" if re.search(r"\bconvert\b", printed) else "0.10.0"
    versions = {**job.target.versions, "lmdeploy": version}
    return replace(job, target=replace(job.target, versions=versions))
