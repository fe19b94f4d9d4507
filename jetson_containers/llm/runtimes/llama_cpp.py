"""llama.cpp: `convert_hf_to_gguf.py` → `llama-quantize` → `llama-server`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.llm.pipeline.types import CommandStep
from jetson_containers.llm.runtimes import common, support, support_table
from jetson_containers.llm.runtimes.interface import OK, JobVerdict, Service

if TYPE_CHECKING:
    from jetson_containers.llm.runtimes.interface import Job, ServeOptions, Target
    from jetson_containers.platforms.platform import Platform

# Types `llama-quantize` makes from an f16 file (its own --help lists them), the default first.
QUANTIZATIONS = (
    "Q4_K_M", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_S", "Q4_1", "Q4_0", "IQ4_NL",
    "IQ4_XS", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "MXFP4_MOE",
)  # fmt: skip
ROOT = "/data/models/llama_cpp"
_HELP = ("llama-server", "--help")
_PAGE = ("/", "/index.html", "/bundle.js", "/bundle.css", "/loading.html", "/favicon.ico")  # one types the key there
_MICRO_BATCH = 512  # tokens; llama.cpp's default, the compute buffer grows with it


class LlamaCpp:
    """GGUF models with llama.cpp's own programs, on CPU and GPU."""

    name = "llama_cpp"
    summary = "GGUF files; every board, CPU or GPU"
    probes: tuple[tuple[str, ...], ...] = (_HELP, support.LISTINGS["llama_cpp"])

    def packages(self, platform: Platform) -> tuple[str, ...]:
        """Name the one package. Raises UsageError where it does not exist: on JetPack 4."""
        return common.packages(self.name, platform)

    def quantizations(self, target: Target) -> tuple[str, ...]:
        """All of `llama-quantize`'s common types."""
        return QUANTIZATIONS

    def check(self, job: Job) -> JobVerdict:
        """Refuse what the converter cannot read and types there are not."""
        if job.prepared:
            return OK
        if job.quantization.upper() not in QUANTIZATIONS:
            known = ", ".join(QUANTIZATIONS)
            return JobVerdict(ok=False, reason=f"llama_cpp has no quantization `{job.quantization}`", instead=known)
        if reason := support_table.gguf_refusal(job.config):
            return JobVerdict(ok=False, reason=reason, instead=support_table.nearest(self.name, job))
        if job.config and support.knows(self.name, "gguf", job.config, job.target.probed) is False:
            asked = support.listed_by(self.name, job.target.probed)
            there = f" of this image does not list `{job.config.architecture}`" if asked else ""
            lacks = there or f" does not know the architecture `{job.config.model_type}`"
            reason = f"llama.cpp's converter{lacks}"
            return JobVerdict(ok=False, reason=reason, instead=support_table.nearest(self.name, job))
        return OK

    def notices(self, job: Job) -> tuple[str, ...]:
        """Say where the context is longer than what the model was trained for, or the architecture is a new one."""
        found: list[str] = []
        most = job.config.max_position if job.config else 0
        if 0 < most < job.context:
            found.append(f"the model was trained for {most} tokens; answers suffer in a context of {job.context}")
        known = support.knows(self.name, "gguf", job.config, job.target.probed) if job.config else True
        if job.config and not job.prepared and known is None:
            found.append(
                f"whether llama.cpp's converter knows `{job.config.model_type}` is not in our table; it will tell"
            )
        return tuple(found)

    def steps(self, job: Job) -> tuple[CommandStep, ...]:
        """Convert to f16 once, then quantize from that; a `.gguf` source is already prepared."""
        if job.prepared:
            return ()
        wanted = job.quantization.upper()
        full = f"{ROOT}/{job.name}/{job.name}-F16.gguf"
        convert = CommandStep(
            name="convert",
            argv=("convert_hf_to_gguf.py", job.source, "--outfile", "{output}", "--outtype", "f16"),
            inputs=(job.source,),
            output=full,
            intermediate=wanted != "F16",
        )
        if wanted == "F16":
            return (convert,)
        quantize = CommandStep(
            name="quantize",
            argv=("llama-quantize", full, "{output}", wanted),
            inputs=(full,),
            output=self.artifact(job),
        )
        return (convert, quantize)

    def artifact(self, job: Job) -> str:
        """The GGUF file."""
        return job.source if job.prepared else f"{ROOT}/{job.name}/{job.name}-{job.quantization.upper()}.gguf"

    def serve(self, job: Job, options: ServeOptions) -> Service:
        """Build `llama-server`'s command.

        The context is always set: the default is the model's full training context. It is shared by the sequences.
        """
        sequences = max(job.max_batch, 1)
        argv = ["llama-server", "-m", self.artifact(job), "--alias", job.name]
        argv += ["-c", str(job.context * sequences), "-np", str(sequences)]
        argv += ["-ub", str(min(job.prefill_chunk or _MICRO_BATCH, job.context))]
        argv += ["--host", options.host, "--port", str(options.port)]
        if options.threads:
            argv += ["-t", str(options.threads)]
        if job.target.device != "cpu":
            argv += [*_all_layers(job.target), *_once_in_memory(job.target)]
        help_text = job.target.probed.get(" ".join(_HELP), "")
        if options.metrics and (not help_text or "--metrics" in help_text):
            argv.append("--metrics")
        measure = {"ignore_eos": True, "cache_prompt": False}
        return Service(argv=tuple(argv), model=job.name, key_env="LLAMA_API_KEY", measure=measure, open_paths=_PAGE)


def _all_layers(target: Target) -> list[str]:
    """Newer releases fit the layers to the free memory themselves; older ones take a number."""
    help_text = target.probed.get(" ".join(_HELP), "")
    return [] if not help_text or "auto" in _line_of(help_text, "--n-gpu-layers") else ["-ngl", "99"]


def _once_in_memory(target: Target) -> list[str]:
    """Keep the file out of the page cache: GPU and CPU of a Jetson share their memory, it would be there twice."""
    if target.platform.soc is None:
        return []
    help_text = target.probed.get(" ".join(_HELP), "")
    if not help_text:
        return []  # an unknown option would end the server
    return ["--no-mmap"] if "--no-mmap" in help_text else ["--load-mode", "none"]


def _line_of(text: str, option: str) -> str:
    """The lines of a help text from an option to the next one."""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if option in line:
            return " ".join(lines[index : index + 4])
    return ""
