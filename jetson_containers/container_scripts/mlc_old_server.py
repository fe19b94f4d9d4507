"""Serve a model that `python3 -m mlc_llm.build` made, through `mlc_chat.ChatModule` (MLC 0.1.0, images for JetPack 5).

python3 mlc_old_server.py DIRECTORY [--model-lib FILE] [--model-id NAME] [--host HOST] [--port PORT]
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Iterator

    from jetson_containers.container_scripts import openai_server
    from jetson_containers.container_scripts.openai_protocol import Messages, Prompt
else:
    import openai_server

INDEXES = ("ndarray-cache.json", "tensor-cache.json")  # the index of the weights, under its old and its new name


class Message:
    """What `mlc_chat` wants of a message: its role and its text."""

    def __init__(self, role: str, content: str) -> None:
        self.role = role
        self.content = content


class ChatModuleBackend:
    """One ChatModule. It keeps a conversation of its own, so each request starts it anew."""

    def __init__(self, directory: str, library: str = "", model_id: str = "") -> None:
        self.model_id = model_id or Path(directory).name
        self._params = weights(Path(directory))
        self._library = library or str(compiled(Path(directory)))
        self._module: Any = None
        self._tokenizer: Any = None
        config = json.loads((self._params / "mlc-chat-config.json").read_text(encoding="utf-8"))
        # renamed in December 2023
        self._context = int(config.get("context_window_size") or config.get("max_window_size") or 0)

    def load(self) -> None:
        """Load weights and library."""
        from mlc_chat import ChatModule

        self._tokenizer = tokenizer(self._params)
        self._module = ChatModule(model=str(self._params), model_lib_path=self._library)

    def count(self, text: str) -> int:
        """Tokens of a text, as the model's tokenizer splits it."""
        return len(self._tokenizer(text))

    def generate(self, prompt: Prompt, options: openai_server.GenerationOptions) -> Iterator[str]:
        """Answer a conversation in the model's own template, or continue a text without one."""
        from mlc_chat import GenerationConfig

        self._check_length(prompt)
        # what is None is the model's own
        limits = GenerationConfig(
            temperature=options.temperature, top_p=options.top_p, max_gen_len=options.max_tokens or None
        )
        if options.seed is not None:
            seed_everything(options.seed)
        self._module.reset_chat()
        self._module._reset_runtime_stats()  # noqa: SLF001 - mlc_chat has no public way to take one step
        self._prefill(prompt, limits)
        yield from self._decode(limits, options)

    def _prefill(self, prompt: Prompt, limits: Any) -> None:
        if isinstance(prompt, str):
            from mlc_chat.chat_module import PlaceInPrompt

            # in the middle of a prompt: no roles and separators around it
            self._module._prefill(prompt, place_in_prompt=PlaceInPrompt.Middle, generation_config=limits)  # noqa: SLF001
            return
        messages = [Message(message["role"], message["content"]) for message in merged(prompt)]
        given = messages if len(messages) > 1 else messages[0].content
        self._module._prefill(given, generation_config=limits)  # noqa: SLF001

    def _decode(self, limits: Any, options: openai_server.GenerationOptions) -> Iterator[str]:
        steps, sent = 1, ""
        while True:
            # all text so far; a half character at its end shows as U+FFFD and is held back
            text = self._module._get_message().rstrip("\ufffd")  # noqa: SLF001
            if text.startswith(sent) and len(text) > len(sent):
                yield text[len(sent) :]
                sent = text
            if self._module._stopped() or options.cancelled.is_set():  # noqa: SLF001
                break
            self._module._decode(generation_config=limits)  # noqa: SLF001
            steps += 1
        options.report.completion_tokens = steps
        options.report.prompt_tokens = prefilled(self._module.stats(verbose=True))
        options.report.finish_reason = "length" if 0 < options.max_tokens <= steps else "stop"

    def _check_length(self, prompt: Prompt) -> None:
        text = prompt if isinstance(prompt, str) else "\n".join(message["content"] for message in prompt)
        tokens = self.count(text)
        if 0 < self._context <= tokens:
            raise openai_server.BadRequest(
                f"The prompt has {tokens} tokens, and the model was compiled for {self._context}.",
                "prompt" if isinstance(prompt, str) else "messages",
                "context_length_exceeded",
            )


def merged(messages: Messages) -> Messages:
    """Put instructions into the user's next message: the templates of `mlc_chat` have their system text built in.

    It also wants the roles to take turns, and the user to speak last.
    """
    result: Messages = []
    for message in messages:
        role = "user" if message["role"] == "system" else message["role"]
        if result and result[-1]["role"] == role:
            result[-1] = {"role": role, "content": result[-1]["content"] + "\n\n" + message["content"]}
        else:
            result.append({"role": role, "content": message["content"]})
    if result[-1]["role"] != "user":
        raise openai_server.BadRequest("The last message must be the user's.", "messages")
    return result


def prefilled(stats: str) -> int | None:
    """The prompt's tokens, read from the module's statistics; None where they look different."""
    found = re.search(r"prefill.*?total tokens:\s*([0-9]+)", stats, re.DOTALL)
    return int(found.group(1)) if found else None


def seed_everything(seed: int) -> None:
    """Seed MLC's sampler, where this version of it can be."""
    import tvm

    set_seed = tvm.get_global_func("mlc.random.set_seed", True)  # noqa: FBT003 - its name differs between versions
    if set_seed is not None:
        set_seed(seed)


def tokenizer(params: Path) -> Any:
    """A function from text to tokens, by the files that MLC copied beside the weights."""
    fast = params / "tokenizer.json"
    if fast.is_file():
        from tokenizers import Tokenizer

        loaded = Tokenizer.from_file(str(fast))
        return lambda text: loaded.encode(text, add_special_tokens=False).ids
    from transformers import AutoTokenizer

    slow = AutoTokenizer.from_pretrained(str(params), use_fast=False)
    return lambda text: slow.encode(text, add_special_tokens=False)


def weights(directory: Path) -> Path:
    """The directory with the weights. Exits saying what is missing."""
    for place in (directory / "params", directory):
        if (place / "mlc-chat-config.json").is_file():
            if any((place / name).is_file() for name in INDEXES):
                return place
            sys.exit(
                f"error: {place} has a configuration and no weights\nhint: run the build again, it was interrupted"
            )
    sys.exit(f"error: no mlc-chat-config.json in {directory} or its params\nhint: `python3 -m mlc_llm.build` makes it")


def compiled(directory: Path) -> Path:
    """The only library of a build. Exits when there is none, or more than one."""
    found = sorted(directory.glob("*.so"))
    if len(found) != 1:
        sys.exit(f"error: {len(found)} compiled libraries in {directory}\nhint: name one with --model-lib")
    return found[0]


def main() -> int:
    """Read the command line and serve."""
    parser = openai_server.argument_parser(__doc__)
    parser.add_argument("directory", help="what the build made: the directory above `params`")
    parser.add_argument("--model-lib", default="", help="the compiled library; default: the only .so file there")
    given = parser.parse_args()
    backend = ChatModuleBackend(given.directory, given.model_lib, given.model_id)
    return openai_server.serve(backend, given.host, given.port)


if __name__ == "__main__":
    raise SystemExit(main())
