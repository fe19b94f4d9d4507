"""The text that a quantizer measures activations on.

The default needs no network: Python's own language reference, which every image holds (`pydoc_data.topics`), half a
million characters of English prose and code, the same everywhere, with nothing to license or ship. A text file below
/data or a named data set of the hub replaces it: better for a model of another language, or where results are to be
compared with published ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.llm.pipeline.types import CommandStep
from jetson_containers.llm.runtimes import support_table
from jetson_containers.llm.runtimes.interface import OK, JobVerdict

if TYPE_CHECKING:
    from jetson_containers.llm.runtimes.interface import Job

# Directories are local: nothing of theirs is looked up at the hub, whose absence some libraries only notice by waiting.
OFFLINE = {"HF_HUB_OFFLINE": "1"}
BUILTIN = "builtin"
NAMED = ("wikitext2", "c4")  # that container_scripts/calibration.py fetches
SAMPLES = 128
LENGTH = 512  # tokens each: AutoAWQ's default. Hidden states of all samples are kept: 0.5 GiB for 4096 channels


def text(job: Job) -> str:
    """What `--calibration` of our scripts gets."""
    return job.calibration or BUILTIN


def samples(job: Job) -> int:
    """How many pieces of text are measured."""
    return job.samples or SAMPLES


def network(job: Job) -> bool:
    """Whether the text must be fetched."""
    return text(job) != BUILTIN and not text(job).startswith("/")


def arguments(job: Job, length: int = LENGTH) -> tuple[str, ...]:
    """The options of a script that calibrates."""
    return ("--calibration", text(job), "--samples", str(samples(job)), "--length", str(length))


def step(job: Job, argv: tuple[str, ...], output: str) -> CommandStep:
    """A step that calibrates: the hub is out of reach unless the text comes from there; a file is one of its inputs."""
    inputs = (job.source, text(job)) if text(job).startswith("/") else (job.source,)
    env = {} if network(job) else OFFLINE
    return CommandStep(name="quantize", argv=argv, inputs=inputs, output=output, env=env, network=network(job))


def check(runtime: str, named: tuple[str, ...], job: Job) -> JobVerdict:
    """Refuse a text that the quantizer cannot have, and one where nothing is measured."""
    if not job.calibration or (named and (not network(job) or job.calibration in named)):
        return OK
    if not named or support_table.served_as_is(job):
        why = f"{runtime} takes no calibration text here, so `--calibration {job.calibration}` has no effect"
        return JobVerdict(ok=False, reason=why, instead="leave out `--calibration`")
    why = (
        f"{runtime} has no calibration text `{job.calibration}`; it has {', '.join(named)}, and text files below /data"
    )
    return JobVerdict(ok=False, reason=why, instead=f"--calibration {named[0]}, or leave it out to need no network")
