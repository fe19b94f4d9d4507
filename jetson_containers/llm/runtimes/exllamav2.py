"""ExLlamaV2 (EXL2): as ExLlamaV3, by its own name."""

from __future__ import annotations

from jetson_containers.llm.runtimes.exllama import ExLlama


class ExLlamaV2(ExLlama):
    """The format before; also runs GPTQ checkpoints."""

    name = "exllamav2"
    summary = "ExLlamaV2: EXL2 weights with 2 to 8 bits, GPTQ checkpoints"
    generation = "2"
    batches = False  # without pages, which need FlashAttention
