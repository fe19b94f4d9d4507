"""Serve what `lmdeploy convert` made with the TurboMind engine of LMDeploy 0.2; the protocol is openai_server's.

LMDeploy's own server of that age needs its PyTorch engine, which Jetson's PyTorch cannot have.
"""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from typing import Iterator

    from jetson_containers.container_scripts import chat_text, openai_server
else:
    import chat_text
    import openai_server


class TurboMindBackend:
    """One converted model; every request is a session of its own, since conversations come whole."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.model_id = options.model_id
        self.engine: Any = None
        self.instance: Any = None
        self.sessions = itertools.count(1)

    def load(self) -> None:
        """Load the engine with its session length, batch and share of the free memory."""
        from lmdeploy import TurbomindEngineConfig
        from lmdeploy.turbomind import TurboMind

        options = self.options
        config = TurbomindEngineConfig(
            session_len=options.session_len,
            max_batch_size=options.max_batch_size,
            cache_max_entry_count=options.cache_max_entry_count,
            max_prefill_token_num=options.max_prefill_token_num,
        )
        self.engine = TurboMind.from_pretrained(options.model, engine_config=config)
        self.instance = self.engine.create_instance()

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.engine.tokenizer.encode(text, add_bos=False))

    def generate(self, prompt: Any, options: openai_server.GenerationOptions) -> Iterator[str]:
        """Stream one session; leaving early cancels and ends it, which frees its cache."""
        # a base model's template gives nothing for messages
        text = (
            prompt if isinstance(prompt, str) else self.engine.model.messages2prompt(prompt) or chat_text.plain(prompt)
        )
        ids = self.engine.tokenizer.encode(text)
        room = self.options.session_len - len(ids)
        if room < 1:
            message = f"the prompt has {len(ids)} tokens, the session {self.options.session_len}"
            raise openai_server.BadRequest(message, "messages", "context_length_exceeded")
        limit = min(options.max_tokens or room, room)
        options.report.prompt_tokens = len(ids)
        stream = openai_server.TextStream(self.engine.tokenizer.decode)
        session = next(self.sessions)
        results = self.instance.stream_infer(
            session, [ids], sequence_end=True, stream_output=True, gen_config=self.config(options, limit)
        )
        made: list[int] = []
        whole = False
        try:
            for _, made, tokens in results:
                options.report.completion_tokens = tokens
                if options.cancelled.is_set():
                    break
                piece = stream.push(made)
                if piece:
                    yield piece
            else:
                whole = True
                rest = stream.end(made)
                if rest:
                    yield rest
        finally:
            if not whole:
                self.instance.cancel(session)
                for _ in results:  # its threads end with the session
                    pass

    def config(self, options: openai_server.GenerationOptions, limit: int) -> Any:
        """What the engine gets; temperature 0 is the most likely token."""
        from lmdeploy import EngineGenerationConfig

        greedy = options.temperature == 0
        seed = {} if options.seed is None else {"random_seed": options.seed}
        return EngineGenerationConfig(
            max_new_tokens=limit,
            top_k=1 if greedy else 40,
            top_p=1.0 if greedy or options.top_p is None else options.top_p,
            temperature=1.0 if greedy or options.temperature is None else options.temperature,
            **seed,
        )


def main(argv: list[str] | None = None) -> int:
    """Parse and serve."""
    parser = openai_server.argument_parser(__doc__)
    parser.add_argument("model", help="directory that `lmdeploy convert` made")
    parser.add_argument("--session-len", type=int, default=2048, help="tokens of prompt and answer (default: 2048)")
    parser.add_argument("--max-batch-size", type=int, default=1, help="sequences at once (default: 1)")
    parser.add_argument(
        "--max-prefill-token-num", type=int, default=2048, help="tokens of the prompt that are read at once"
    )
    parser.add_argument(
        "--cache-max-entry-count", type=float, default=0.5, help="share of the free memory for the cache (default: 0.5)"
    )
    options = parser.parse_args(argv)
    return openai_server.serve(TurboMindBackend(options), options.host, options.port)


if __name__ == "__main__":
    sys.exit(main())
