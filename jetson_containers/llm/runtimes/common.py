"""What the runtimes of `facts/runtimes.yaml` share: images, names, verdicts, and the words of their commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.core.errors import UsageError
from jetson_containers.llm.runtimes import calibration, support_table
from jetson_containers.llm.runtimes.interface import SCRIPTS_DIR, JobVerdict, Target
from jetson_containers.platforms import detect, tables

if TYPE_CHECKING:
    from jetson_containers.llm.runtimes.interface import Job, ServeOptions
    from jetson_containers.llm.runtimes.support_table import SupportRow
    from jetson_containers.platforms.platform import Platform

CONTEXT = 2048  # tokens, for a job that says none
PREFILL = 2048  # tokens per step of reading the prompt: the largest that costs no more than a few hundred megabytes


def packages(runtime: str, platform: Platform) -> tuple[str, ...]:
    """What an image must hold. Raises UsageError with the reason where the platform can have none."""
    target = Target(platform=platform, device="cuda" if platform.has_gpu else "cpu")
    row = support_table.row_for(runtime, target)
    if row is None:
        raise UsageError(support_table.no_platform(runtime, target), hint=nearest(runtime, platform))
    return row.packages


def nearest(runtime: str, platform: Platform) -> str:
    """The hint where a platform has no image for a runtime, whatever the model."""
    target = Target(platform=platform, device="cuda" if platform.has_gpu else "cpu")
    remedy = support_table.remedy(support_table.nearest_on(runtime, target))
    older = _older_release(runtime, platform)
    return f"{remedy}; with an older L4T: --target {older}" if older else remedy


def _older_release(runtime: str, platform: Platform) -> str:
    """The target with the newest L4T of the board that has the runtime, where only the board was named."""
    if not platform.board or not platform.origins.get("l4t", "").startswith("newest known"):
        return ""
    board = tables.boards()[platform.board]
    for release in tables.releases():
        if release.status == "released" and board.boots(release.l4t) and board.soc in release.socs:
            text = f"r{release.l4t},{platform.board}"
            if support_table.row_for(runtime, Target(platform=detect.parse_target(text), device="cuda")):
                return text
    return ""


class TableRuntime:
    """A runtime whose limits are rows of the table; subclasses add the commands."""

    name: str
    summary: str
    probes: tuple[tuple[str, ...], ...] = ()
    calibrates: tuple[str, ...] = ()  # named data sets the quantizer can fetch; empty: it needs no text
    chat_templates = False  # whether a conversation template can be named
    batches = False  # whether the server answers several requests at once

    def packages(self, platform: Platform) -> tuple[str, ...]:
        """Name what an image must hold. Raises UsageError with the reason where the platform can have none."""
        return packages(self.name, platform)

    def quantizations(self, target: Target) -> tuple[str, ...]:
        """List what the target can have, the default first."""
        return support_table.quantizations(self.name, target)

    def check(self, job: Job) -> JobVerdict:
        """Judge architecture, quantization, device and calibration; a refusal names the nearest possible thing."""
        found = support_table.verdict(self.name, job, chat_templates=self.chat_templates)
        if found.ok and job.max_batch > 1 and not self.batches:
            why = f"{self.name} answers one request at a time, so `--max-batch {job.max_batch}` has no effect"
            return JobVerdict(ok=False, reason=why, instead="leave out `--max-batch`")
        return found if not found.ok else calibration.check(self.name, self.calibrates, job)

    def notices(self, job: Job) -> tuple[str, ...]:
        """Say what a user would not expect of a job that is allowed."""
        notices: list[str] = []
        found = job.config.quantized if job.config else None
        if found:
            notices.append(f"the checkpoint is quantized already ({found.described}) and served as it is")
        notices += support_table.unknowns(self.name, job)
        if context(job) < job.context:
            notices.append(
                f"the context is limited to the {context(job)} tokens that the model was trained for, not {job.context}"
            )
        if support_table.needs_remote_code(job.config):
            notices.append("the model's own Python code, which comes with the checkpoint, runs inside the container")
        bits = self.row(job).memory_bits
        if bits:
            notices.append(
                f"weights take {bits} bits in memory while this runtime serves them; vllm serves them in 4 bits"
            )
        return tuple(notices)

    def row(self, job: Job) -> SupportRow:
        """The interface the job meets. Raises UsageError where there is none."""
        row = support_table.row_for(self.name, job.target)
        if row is None:
            raise UsageError(
                support_table.no_platform(self.name, job.target), hint=support_table.nearest(self.name, job) or None
            )
        return row

    def quantization(self, job: Job) -> support_table.Quantization:
        """What is to be made. Raises UsageError where the job is refused."""
        verdict = self.check(job)
        found = support_table.quantization(self.name, job)
        if not verdict.ok or found is None:
            raise UsageError(verdict.reason, hint=verdict.instead or None)
        return found

    def output_path(self, job: Job) -> str:
        """Where what is made of the checkpoint lies."""
        return f"/data/models/{self.name}/{job.name}-{self.quantization(job).name}"


def script(name: str) -> tuple[str, str]:
    """The beginning of a command that runs one of our scripts in the image."""
    return ("python3", f"{SCRIPTS_DIR}/{name}")


def listen_options(options: ServeOptions) -> tuple[str, ...]:
    """Where our own servers listen."""
    return ("--host", options.host, "--port", str(options.port))


def context(job: Job) -> int:
    """Tokens of one conversation, never more than the model was trained for: vLLM would not start."""
    wanted = job.context or CONTEXT
    return min(wanted, job.config.max_position) if job.config and job.config.max_position else wanted


def prefill(job: Job) -> int:
    """Tokens that are read at once."""
    return min(job.prefill_chunk or PREFILL, context(job))


def trust_options(job: Job) -> tuple[str, ...]:
    """The flag that lets a checkpoint's own code run, where the family has no other."""
    return ("--trust-remote-code",) if support_table.needs_remote_code(job.config) else ()


def with_key_option(argv: tuple[str, ...], options: ServeOptions, flag: str) -> tuple[str, ...]:
    """Give the key, in the environment as API_KEY, to a server that knows only a flag; no argv shows it."""
    return (*script("with_key.py"), flag, "--", *argv) if options.api_key else argv
