"""Serve an EXL3 checkpoint with ExLlamaV3, or EXL2 and GPTQ with ExLlamaV2; the protocol is openai_server's."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from typing import Iterator

    from jetson_containers.container_scripts import chat_text, checkpoint, openai_server
else:
    import chat_text
    import checkpoint
    import openai_server

PAGE = 256  # tokens; caches are whole pages


class ExLlamaBackend:
    """One model with a cache of exactly the context, for each sequence of the batch."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.model_id = options.model_id
        self.template = ""
        self.tokenizer: Any = None
        self.generator: Any = None
        self.library: Any = None

    def load(self) -> None:
        """Load model, cache and generator of the generation that was asked for."""
        self.template = chat_text.template_of(self.options.model)
        tokens = pages(self.options.context)
        if self.options.generation == "3":
            self._load3(tokens * self.options.max_batch)
        else:
            self._load2(tokens)

    def _load3(self, tokens: int) -> None:
        import exllamav3 as library

        config = library.Config.from_directory(self.options.model)
        model = library.Model.from_config(config)
        cache = library.Cache(model, max_num_tokens=tokens)
        model.load()
        self.library = library
        self.tokenizer = library.Tokenizer.from_config(config)
        self.generator = library.Generator(
            model, cache, self.tokenizer,
            max_batch_size=self.options.max_batch, max_chunk_size=pages(self.options.prefill_chunk),
        )  # fmt: skip

    def _load2(self, tokens: int) -> None:
        import exllamav2 as library
        from exllamav2 import generator as generators

        config = library.ExLlamaV2Config(self.options.model)
        config.max_seq_len = self.options.context
        config.max_input_len = pages(self.options.prefill_chunk)
        model = library.ExLlamaV2(config)
        cache = library.ExLlamaV2Cache(model, max_seq_len=tokens, lazy=True)
        model.load_autosplit(cache)
        self.library = generators
        self.tokenizer = library.ExLlamaV2Tokenizer(config)
        # Pages need FlashAttention, which the image may lack; without them there is one sequence, as here anyway.
        self.generator = generators.ExLlamaV2DynamicGenerator(
            model=model,
            cache=cache,
            tokenizer=self.tokenizer,
            max_chunk_size=config.max_input_len,
            paged=False,
        )

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return int(self.tokenizer.encode(text).shape[-1])

    def generate(self, prompt: Any, options: openai_server.GenerationOptions) -> Iterator[str]:
        """Run one job and pass on its text; leaving early takes the job back."""
        text, add_bos = (prompt, True) if isinstance(prompt, str) else self.text(prompt)
        ids = self.tokenizer.encode(text, add_bos=add_bos, encode_special_tokens=not isinstance(prompt, str))
        length = int(ids.shape[-1])
        room = self.options.context - length
        if room < 1:
            message = f"the prompt has {length} tokens, the context is {self.options.context}"
            raise openai_server.BadRequest(message, "messages", "context_length_exceeded")
        options.report.prompt_tokens = length
        job = self.job(ids, options, min(options.max_tokens or room, room))
        self.generator.enqueue(job)
        try:
            while self.generator.num_remaining_jobs() and not options.cancelled.is_set():
                for result in self.generator.iterate():
                    if result.get("text"):
                        yield result["text"]
                    if result.get("eos"):
                        options.report.completion_tokens = result.get("new_tokens")
                        full = result.get("eos_reason") == "max_new_tokens"
                        options.report.finish_reason = "length" if full else "stop"
        finally:
            self.generator.cancel(job)

    def text(self, messages: Any) -> tuple[str, bool]:
        """The prompt, and whether a beginning is to be added: templates bring their own."""
        if not self.template:
            return chat_text.plain(messages), True
        tokens = {"bos_token": self.tokenizer.bos_token or "", "eos_token": self.tokenizer.eos_token or ""}
        try:
            made = chat_text.apply(lambda given: chat_text.render(self.template, given, **tokens), messages)
        except Exception as error:  # noqa: BLE001 - whatever a template does is about the messages
            raise openai_server.BadRequest(
                f"the model's chat template refuses these messages: {error}", "messages"
            ) from None
        return str(made), False

    def job(self, ids: Any, options: openai_server.GenerationOptions, limit: int) -> Any:
        """What the generator gets; temperature 0 is greedy."""
        ends = [*checkpoint.end_tokens(self.options.model), self.tokenizer.eos_token_id]
        stops = [*dict.fromkeys(end for end in ends if end is not None), *options.stop]
        if self.options.generation == "3":
            sampler = self._sampler3(options)
            return self.library.Job(
                input_ids=ids, max_new_tokens=limit, stop_conditions=stops, seed=options.seed, sampler=sampler
            )
        settings = self.library.ExLlamaV2Sampler.Settings
        if options.temperature == 0:
            chosen = settings.greedy()
        else:
            chosen = settings(
                temperature=1.0 if options.temperature is None else options.temperature,
                top_p=1.0 if options.top_p is None else options.top_p,
                top_k=0,
                token_repetition_penalty=1.0,
            )
        return self.library.ExLlamaV2DynamicJob(
            input_ids=ids, max_new_tokens=limit, stop_conditions=stops, seed=options.seed, gen_settings=chosen
        )

    def _sampler3(self, options: openai_server.GenerationOptions) -> Any:
        return self.library.TopPSampler(
            top_p=1.0 if options.top_p is None else options.top_p,
            temperature=1.0 if options.temperature is None else options.temperature,
        )


def pages(tokens: int) -> int:
    """The next whole number of pages."""
    return -(-tokens // PAGE) * PAGE


def main(argv: list[str] | None = None) -> int:
    """Parse and serve."""
    parser = openai_server.argument_parser(__doc__)
    parser.add_argument("model", help="converted checkpoint")
    parser.add_argument("--generation", choices=("2", "3"), default="3")
    parser.add_argument("--context", type=int, default=2048, help="tokens of prompt and answer (default: 2048)")
    parser.add_argument("--max-batch", type=int, default=1, help="sequences at once (default: 1)")
    parser.add_argument("--prefill-chunk", type=int, default=2048, help="tokens of the prompt that are read at once")
    options = parser.parse_args(argv)
    return openai_server.serve(ExLlamaBackend(options), options.host, options.port)


if __name__ == "__main__":
    sys.exit(main())
