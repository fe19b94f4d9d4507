"""llama.cpp: `convert_hf_to_gguf.py` → `llama-quantize` → `llama-cli`."""

from __future__ import annotations

import re

from jetson_containers.errors import UsageError
from jetson_containers.runtimes.base import ChatOptions, StepCommand

# Types `llama-quantize` makes from an f16 file (its own --help lists them); K-quants need rows of 256.
QUANTIZATIONS = (
    "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0", "IQ4_NL",
    "IQ4_XS", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K",
)  # fmt: skip
ROOT = "/data/models/llama_cpp"


class LlamaCpp:
    """GGUF models with llama.cpp's own programs, on CPU and GPU."""

    name = "llama_cpp"
    packages: tuple[str, ...] = ("llama_cpp",)
    default_quantization = "Q4_K_M"

    def prepare(self, source: str, name: str, quantization: str) -> tuple[StepCommand, ...]:
        """Convert to f16 once, then quantize from that; a `.gguf` source is already prepared."""
        wanted = quantization.upper()
        if wanted not in QUANTIZATIONS:
            raise UsageError(
                f"llama_cpp has no quantization `{quantization}`", hint=f"it has: {', '.join(QUANTIZATIONS)}"
            )
        if source.endswith(".gguf"):
            return ()
        full = f"{ROOT}/{name}/{name}-F16.gguf"
        convert = StepCommand(
            "convert",
            ("convert_hf_to_gguf.py", source, "--outfile", "{output}", "--outtype", "f16"),
            (source,),
            full,
            {"outtype": "f16"},
        )
        if wanted == "F16":
            return (convert,)
        quantize = StepCommand(
            "quantize",
            ("llama-quantize", full, "{output}", wanted),
            (full,),
            f"{ROOT}/{name}/{name}-{wanted}.gguf",
            {"type": wanted},
        )
        return (convert, quantize)

    def chat(self, artefact: str, options: ChatOptions) -> tuple[str, ...]:
        """Ask `llama-cli` for one turn; the context is always set, its default is the model's full training context."""
        argv = ["llama-cli", "-m", artefact, "-c", str(options.context), "-n", str(options.max_tokens)]
        argv += ["--single-turn", "--simple-io", "--no-display-prompt", "-p", options.prompt]
        if options.threads:
            argv += ["-t", str(options.threads)]
        if options.seed is not None:
            argv += ["-s", str(options.seed)]
        if options.gpu_layers is not None:
            argv += ["-ngl", str(options.gpu_layers)]
        return tuple(argv)

    def answer(self, output: str, prompt: str) -> str:
        """Cut the answer out of `llama-cli`'s banner, echo and timing line; all of it when it looks different."""
        _, echo, rest = output.partition(f"> {prompt}")
        text = rest if echo else output
        return re.split(r"^\[ Prompt:", text, maxsplit=1, flags=re.MULTILINE)[0].strip()

    def tokens_per_second(self, output: str) -> float | None:
        """Read the timing line of `llama-cli` (`[ Prompt: … t/s | Generation: … t/s ]`)."""
        found = re.findall(r"Generation:\s*([0-9.]+)\s*t/s", output)
        if not found:
            found = re.findall(r"eval time =.*?([0-9.]+) tokens per second", output)
        return float(found[-1]) if found else None
