"""Serve a checkpoint with transformers' `generate`: plain, or quantized with bitsandbytes, GPTQ, AWQ or llm-compressor.

One answer at a time; the protocol is openai_server's. Python 3.8, transformers 4.46 and newer.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from typing import Iterator

    from jetson_containers.container_scripts import chat_text, checkpoint, gptq_workers, openai_server
else:
    import chat_text
    import checkpoint
    import gptq_workers
    import openai_server

_DTYPES = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}


class TransformersBackend:
    """One model on one device."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.model_id = options.model_id
        self.tokenizer: Any = None
        self.model: Any = None
        self.context = options.context

    def load(self) -> None:
        """Load tokenizer and model; the context becomes what both the option and the model allow."""
        import torch
        from transformers import AutoTokenizer

        options = self.options
        if options.threads:
            torch.set_num_threads(options.threads)
        self.tokenizer = AutoTokenizer.from_pretrained(options.model, trust_remote_code=options.trust_remote_code)
        self.model = load_model(options)
        self.model.eval()
        limit = getattr(self.model.config, "max_position_embeddings", None)
        self.context = min(options.context, limit) if isinstance(limit, int) and limit > 0 else options.context

    def count(self, text: str) -> int:
        """Tokens of a text without the ones a model adds."""
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def generate(self, prompt: Any, options: openai_server.GenerationOptions) -> Iterator[str]:
        """Generate in a thread and pass on whole words as they come."""
        from transformers import TextIteratorStreamer

        ids = self.encode(prompt)
        limit = self.limit(ids, options.max_tokens)
        options.report.prompt_tokens = len(ids)
        streamer = TextIteratorStreamer(self.tokenizer, skip_prompt=True, skip_special_tokens=True)
        end = threading.Event()
        outcome: dict[str, Any] = {}
        worker = threading.Thread(
            target=self._work, args=(ids, self.arguments(options, limit), streamer, (end, options.cancelled), outcome)
        )
        worker.start()
        try:
            for piece in streamer:
                if piece:
                    yield piece
        finally:
            end.set()
            worker.join()
        if "error" in outcome:
            raise outcome["error"]
        made = int(outcome["tokens"])
        options.report.completion_tokens = made
        options.report.finish_reason = "length" if made >= limit and not outcome["ended"] else "stop"

    def encode(self, prompt: Any) -> list[int]:
        """Tokens of a text, or of messages by the model's template. Raises BadRequest when that refuses them."""
        if isinstance(prompt, str):
            return list(self.tokenizer(prompt)["input_ids"])
        if not getattr(self.tokenizer, "chat_template", None):
            return list(self.tokenizer(chat_text.plain(prompt))["input_ids"])
        try:
            text = chat_text.apply(self._template, prompt)
        except Exception as error:  # noqa: BLE001 - whatever a template does is about the messages
            raise openai_server.BadRequest(
                f"the model's chat template refuses these messages: {error}", "messages"
            ) from None
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _template(self, messages: Any) -> Any:
        return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def limit(self, ids: list[int], wanted: int) -> int:
        """How many tokens may be made. Raises BadRequest when the prompt leaves no room."""
        if not ids:
            raise openai_server.BadRequest("the prompt has no tokens", "prompt")
        room: int = self.context - len(ids)
        if room < 1:
            message = f"the prompt has {len(ids)} tokens, the context is {self.context}"
            raise openai_server.BadRequest(message, "messages", "context_length_exceeded")
        return min(wanted or room, room)

    def arguments(self, options: openai_server.GenerationOptions, limit: int) -> dict[str, Any]:
        """What `generate` gets; what the request leaves open is the checkpoint's generation_config.json."""
        found: dict[str, Any] = {"max_new_tokens": limit}
        if options.temperature == 0:
            found["do_sample"] = False
        elif options.temperature is not None:
            found.update(do_sample=True, temperature=options.temperature)
        if options.top_p and options.temperature != 0:  # as greedy as it gets is top_p 0
            found.update(do_sample=True, top_p=options.top_p)
        if options.seed is not None:
            found["seed"] = options.seed
        if self.tokenizer.pad_token_id is None and self.tokenizer.eos_token_id is not None:
            found["pad_token_id"] = self.tokenizer.eos_token_id
        if self.options.prefill_chunk and hasattr(self.model.generation_config, "prefill_chunk_size"):
            found["prefill_chunk_size"] = self.options.prefill_chunk
        return found

    def _work(
        self, ids: list[int], arguments: dict[str, Any], streamer: Any, ends: Any, outcome: dict[str, Any]
    ) -> None:
        import torch
        from transformers import StoppingCriteria, StoppingCriteriaList

        class GenerationEnded(StoppingCriteria):  # type: ignore[misc]
            """The client or the server has ended this generation."""

            def __call__(self, input_ids: Any, _scores: Any, **_: Any) -> Any:
                return torch.full((input_ids.shape[0],), any(e.is_set() for e in ends), device=input_ids.device)

        try:
            seed = arguments.pop("seed", None)
            if seed is not None:
                torch.manual_seed(seed)
            inputs = torch.tensor([ids], device=self.model.device)
            with torch.inference_mode():
                result = self.model.generate(
                    input_ids=inputs,
                    attention_mask=torch.ones_like(inputs),
                    streamer=streamer,
                    stopping_criteria=StoppingCriteriaList([GenerationEnded()]),
                    **arguments,
                )
            made = result[0][len(ids) :].tolist()
            stops = self.model.generation_config.eos_token_id
            stops = stops if isinstance(stops, list) else [stops]
            outcome.update(tokens=len(made), ended=bool(made) and made[-1] in stops)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that answers
            outcome["error"] = error
        finally:
            streamer.text_queue.put(streamer.stop_signal)


def load_model(options: argparse.Namespace) -> Any:
    """Load with the library that reads the checkpoint: what GPTQ and AWQ made needs the one that made it."""
    found = checkpoint.method(options.model)
    library = options.library
    if library == "auto" and found in {"gptq", "awq"}:
        library = installed(*({"gptq": ("gptqmodel", "auto_gptq"), "awq": ("gptqmodel", "awq")}[found]))
    device = 0 if options.device == "cuda" else "cpu"
    if library == "gptqmodel":
        gptq_workers.enough()
        from gptqmodel import GPTQModel

        place = "cuda:0" if options.device == "cuda" else "cpu"
        return GPTQModel.load(options.model, device=place, trust_remote_code=options.trust_remote_code).model
    if library == "auto_gptq":
        from auto_gptq import AutoGPTQForCausalLM

        return AutoGPTQForCausalLM.from_quantized(
            options.model, device="cuda:0", use_safetensors=True, trust_remote_code=options.trust_remote_code
        ).model
    if library in {"awq", "auto_awq"}:
        from awq import AutoAWQForCausalLM

        return AutoAWQForCausalLM.from_quantized(
            options.model, fuse_layers=False, max_seq_len=options.context, trust_remote_code=options.trust_remote_code
        ).model
    import torch
    from transformers import AutoModelForCausalLM

    dtype = "auto" if options.dtype == "auto" else getattr(torch, _DTYPES[options.dtype])
    return AutoModelForCausalLM.from_pretrained(
        options.model,
        device_map={"": device},
        **checkpoint.loaded_as(dtype),
        trust_remote_code=options.trust_remote_code,
    )


def installed(*names: str) -> str:
    """The first of these modules that is there. Raises ImportError naming them."""
    import importlib.util

    for name in names:
        if importlib.util.find_spec(name):
            return name
    raise ImportError(f"this checkpoint needs one of {', '.join(names)}, and the image has none")


def main(argv: list[str] | None = None) -> int:
    """Parse and serve."""
    parser = openai_server.argument_parser(__doc__)
    parser.add_argument("model", help="checkpoint, a Hugging Face directory")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--dtype", choices=("auto", *_DTYPES), default="auto")
    parser.add_argument("--library", choices=("auto", "gptqmodel", "auto_gptq", "auto_awq"), default="auto")
    parser.add_argument("--context", type=int, default=2048, help="tokens of prompt and answer (default: 2048)")
    parser.add_argument("--prefill-chunk", type=int, default=0, help="tokens of the prompt that are read at once")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads")
    parser.add_argument("--trust-remote-code", action="store_true", help="run the code that comes with the checkpoint")
    options = parser.parse_args(argv)
    return openai_server.serve(TransformersBackend(options), options.host, options.port)


if __name__ == "__main__":
    sys.exit(main())
