"""Options that MLC's two interfaces document, and whether they take a value; data, kept apart from what is tested.

Sources: mlc_llm/core.py at 51fb0f4 (BuildArgs), python/mlc_llm/cli/*.py and interface/*.py of July 2026.
"""

from __future__ import annotations

from itertools import pairwise

OLD_BUILD = {
    **dict.fromkeys(
        ["--model", "--hf-path", "--quantization", "--max-seq-len", "--max-vocab-size", "--target",
         "--artifact-path", "--use-cache",
         "--reuse-lib", "--max-batch-size", "--sliding-window", "--prefill-chunk-size",
         "--attention-sink-size", "--num-shards", "--llvm-mingw", "--cc-path"], True),
    **dict.fromkeys(
        ["--convert-weights-only", "--build-model-only", "--use-safetensors", "--use-cuda-graph",
         "--use-flash-attn-mqa",
         "--no-cutlass-attn", "--no-cutlass-norm", "--no-cublas", "--enable-batching", "--use-vllm-attention",
         "--sep-embed", "--use-presharded-weights", "--debug-dump", "--debug-load-script", "--system-lib",
         "--pdb"], False),
}  # fmt: skip
OLD_TARGETS = {"auto", "cuda", "cuda-multiarch", "metal", "metal_x86_64", "iphone", "iphone-dylib", "iphone-tar",
               "vulkan", "opencl", "webgpu", "android", "android-dylib", "mali"}  # fmt: skip
OLD_QUANTIZATIONS = {
    "autogptq_llama_q4f16_0", "autogptq_llama_q4f16_1", "q0f16", "q0f32", "q3f16_0", "q3f16_1", "q4f16_0", "q4f16_1",
    "q4f16_2", "q4f16_ft", "q4f16_ft_group", "q4f32_0", "q4f32_1", "q8f16_ft", "q8f16_ft_group", "q8f16_1",
}  # fmt: skip

NEW = {
    "convert_weight": dict.fromkeys(
        ["--quantization", "--model-type", "--device", "--source", "--source-format", "--lora-adapter", "-o"], True),
    "gen_config": dict.fromkeys(
        ["--quantization", "--conv-template", "--model-type", "--context-window-size", "--sliding-window-size",
         "--prefill-chunk-size", "--attention-sink-size", "--tensor-parallel-shards", "--pipeline-parallel-stages",
         "--disaggregation", "--max-batch-size", "-o"], True),
    "compile": {
        **dict.fromkeys(["--quantization", "--model-type", "--device", "--host", "--opt", "--system-lib-prefix",
                         "--overrides", "--debug-dump", "-o"], True),
        "--enable-subgroups": False},
    "serve": {
        **dict.fromkeys(
            ["--device", "--model-lib", "--mode", "--additional-models", "--embedding-model", "--speculative-mode",
             "--prefix-cache-mode", "--prefill-mode", "--overrides", "--host", "--port", "--api-key", "--allow-origins",
             "--allow-methods", "--allow-headers"], True),
        **dict.fromkeys(["--enable-tracing", "--enable-debug", "--allow-credentials"], False)},
}  # fmt: skip
# `mlc_llm serve` of spring 2024, before --overrides
SERVE_2024 = dict.fromkeys(
    ["--device", "--model-lib-path", "--mode", "--additional-models", "--max-batch-size", "--max-total-seq-length",
     "--prefill-chunk-size", "--max-history-size", "--gpu-memory-utilization", "--speculative-mode",
     "--spec-draft-length", "--host", "--port"], True)  # fmt: skip
NEW_DEVICES = {"cuda", "vulkan", "metal", "metal:x86-64", "iphone", "android", "webgpu", "cpu", "auto"}
NEW_QUANTIZATIONS = {
    "q0f16", "q0bf16", "q0f32", "q3f16_0", "q3f16_1", "q4f16_0", "q4f16_1", "q4bf16_0", "q4bf16_1", "q4f16_2",
    "q4f32_1",
    "q4f16_autoawq", "q4f16_ft", "e5m2_e5m2_f16", "e4m3_e4m3_f16", "e4m3_e4m3_f16_max_calibrate",
    "fp8_e4m3fn_bf16_block_scale", "fp8_e4m3fn_bf16_block_scale_static_activation",
}  # fmt: skip
OPT_PRESETS = {"O0", "O1", "O2", "O3"}
OPT_SWITCHES = {
    **{name: {"0", "1"} for name in ("flashinfer", "cublas_gemm", "faster_transformer", "cudagraph", "cutlass")},
    "ipc_allreduce_strategy": {"NONE", "ONESHOT", "TWOSHOT", "AUTO"},
}
COMPILE_OVERRIDES = {
    "context_window_size", "sliding_window_size", "prefill_chunk_size", "attention_sink_size", "max_batch_size",
    "tensor_parallel_shards", "pipeline_parallel_stages", "disaggregation",
}  # fmt: skip
SERVE_OVERRIDES = {
    "max_num_sequence", "max_total_seq_length", "prefill_chunk_size", "max_history_size", "gpu_memory_utilization",
    "spec_draft_length", "spec_tree_width", "prefix_cache_mode", "prefix_cache_max_num_recycling_seqs", "prefill_mode",
    "context_window_size", "sliding_window_size", "attention_sink_size", "tensor_parallel_shards",
    "pipeline_parallel_stages", "opt",
}  # fmt: skip
TEMPLATES = {
    "llama-4", "llama-3", "llama-3_1", "chatml", "chatml_nosystem", "qwen2", "qwen3", "qwen3_5", "qwen3_5_nothink",
    "open_hermes_mistral", "neural_hermes_mistral", "llama-2", "mistral_default", "ministral3", "ministral3_reasoning",
    "gpt2", "codellama_completion", "codellama_instruct", "redpajama_chat", "rwkv_world", "gorilla",
    "gorilla-openfunctions-v2", "dolly", "oasst", "stablelm", "LM", "stablelm-3b", "gpt_bigcode", "wizardlm_7b",
    "wizard_coder_or_math",
    "glm", "phi-2", "phi-3", "phi-3-vision", "phi-4", "stablelm-2", "gemma_instruction", "gemma3_instruction", "orion",
    "llava", "hermes2_pro_llama3", "hermes3_llama-3_1", "tinyllama_v1_0", "aya-23", "deepseek", "deepseek_v2",
    "deepseek_v3", "deepseek_r1_qwen", "deepseek_r1_llama", "olmo", "olmo2", "nemotron", "llm-jp",
}  # fmt: skip


def problems(argv: tuple[str, ...]) -> list[str]:
    """What in a command line MLC would refuse; a driver's arguments are those of the command it stands for."""
    if argv[0] == "ln":
        return []
    if argv[:3] == ("python3", "-m", "mlc_llm.build"):
        return _walk(argv[3:], OLD_BUILD, positional=0) + _old_values(dict(pairwise(argv[3:])))
    if argv[0] == "python3":
        program, rest = argv[1].rpartition("/")[2], argv[2:]
        if program == "mlc_old_server.py":
            own = dict.fromkeys(["--model-lib", "--model-id", "--host", "--port"], True)
            return _walk(rest, own, positional=1)
        assert program == "mlc_serve.py", program
        argv = ("mlc_llm", "serve", *rest)
    assert argv[0] == "mlc_llm", argv
    table = SERVE_2024 if "--model-lib-path" in argv else NEW[argv[1]]
    return _walk(argv[2:], table, positional=1) + _new_values(argv[1], dict(pairwise(argv[2:])))


def _walk(words: tuple[str, ...], table: dict[str, bool], positional: int) -> list[str]:
    found, rest, seen = [], list(words), 0
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            seen += 1
        elif word not in table:
            found.append(f"no option {word}")
        elif table[word] and (not rest or rest.pop(0).startswith("--")):
            found.append(f"{word} needs a value")
    if seen != positional:
        found.append(f"{seen} positional arguments")
    return found


def _old_values(given: dict[str, str]) -> list[str]:
    found = _allowed(given, "--quantization", OLD_QUANTIZATIONS) + _allowed(given, "--target", OLD_TARGETS)
    return found + _numbers(given, "--max-seq-len", "--sliding-window", "--prefill-chunk-size")


def _new_values(command: str, given: dict[str, str]) -> list[str]:
    found = _allowed(given, "--quantization", NEW_QUANTIZATIONS) + _allowed(given, "--conv-template", TEMPLATES)
    found += _allowed(given, "--device", NEW_DEVICES) + _allowed(given, "--mode", {"local", "interactive", "server"})
    found += _allowed(given, "--source-format", {"auto", "huggingface-torch", "huggingface-safetensor", "awq"})
    found += _numbers(
        given, "--context-window-size", "--sliding-window-size", "--prefill-chunk-size", "--max-batch-size"
    )
    found += _numbers(given, "--port", "--max-total-seq-length")
    if opt := given.get("--opt"):
        pairs = [] if opt in OPT_PRESETS else [part.split("=") for part in opt.split(";")]
        found += [f"--opt {pair}" for pair in pairs if len(pair) != 2 or pair[1] not in OPT_SWITCHES.get(pair[0], ())]
    keys = COMPILE_OVERRIDES if command == "compile" else SERVE_OVERRIDES
    for part in filter(None, given.get("--overrides", "").split(";")):
        if part.partition("=")[0] not in keys or not part.partition("=")[2]:
            found.append(f"--overrides {part}")
    return found


def _allowed(given: dict[str, str], option: str, values: set[str]) -> list[str]:
    return [] if given.get(option) is None or given[option] in values else [f"{option} {given[option]}"]


def _numbers(given: dict[str, str], *options: str) -> list[str]:
    return [f"{name} {given[name]}" for name in options if name in given and not given[name].isdigit()]
