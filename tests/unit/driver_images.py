"""Images for the tests of our drivers: they as files in one directory, and stand-ins for the libraries beside them.

The protocol's core, `openai_server`, is a stand-in as well: its own tests are elsewhere.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

SCRIPTS_DIR = Path(__file__).parents[2] / "jetson_containers" / "container_scripts"
OURS = (
    "awq_quantize", "bnb_quantize", "calibration", "chat_text", "checkpoint", "exllama_convert", "exllama_server",
    "gptq_quantize", "gptq_workers", "llmcompressor_quantize", "lmdeploy_awq", "lmdeploy_config", "lmdeploy_server",
    "programs", "transformers_server", "with_key",
)  # fmt: skip
LIBRARY = {"calibration", "chat_text", "checkpoint", "gptq_workers", "programs"}
PROGRAMS = tuple(name for name in OURS if name not in LIBRARY)


class BadRequest(Exception):  # noqa: N818 - as the real one
    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param, self.code = param, code


class TextStream:
    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self.decode, self.sent = decode, 0

    def push(self, tokens: list[int]) -> str:
        text = self.decode(tokens)
        new, self.sent = text[self.sent :], len(text)
        return new

    end = push


def parser(description: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--host", default="127.0.0.1")
    made.add_argument("--port", type=int, default=0)
    made.add_argument("--model-id", default="")
    return made


class Images:
    """An image: our drivers as files in one directory, and the libraries a test puts beside them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.served: list[Any] = []

    def holds(self, name: str, **members: object) -> ModuleType:
        module = ModuleType(name)
        for key, value in members.items():
            setattr(module, key, value)
        self.monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            if parent not in sys.modules:
                self.holds(parent)
            self.monkeypatch.setattr(sys.modules[parent], child, module, raising=False)
        return module

    def driver(self, name: str) -> Any:
        return importlib.import_module(name)


def images(monkeypatch: pytest.MonkeyPatch) -> Iterator[Images]:
    """One image, gone afterwards; for a fixture."""
    made = Images(monkeypatch)
    for name in OURS:
        sys.modules.pop(name, None)
    monkeypatch.syspath_prepend(str(SCRIPTS_DIR))

    def serve(backend: object, host: str, port: int) -> int:
        made.served.append((backend, host, port))
        return 0

    made.holds("openai_server", BadRequest=BadRequest, TextStream=TextStream, argument_parser=parser, serve=serve)
    yield made
    for name in OURS:
        sys.modules.pop(name, None)


class Tokenizer:
    """A token per word; its number is the word's length."""

    chat_template = "yes"
    pad_token_id = None
    eos_token_id = 7
    bos_token, eos_token = "<s>", "</s>"
    encode_calls: list[Any]

    @classmethod
    def from_pretrained(cls, *_: object, **__: object) -> Tokenizer:
        return cls()

    def __call__(self, text: str, **_: object) -> dict[str, list[int]]:
        return {"input_ids": [len(word) for word in text.split()]}

    def apply_chat_template(self, messages: list[dict[str, str]], **_: object) -> str:
        if messages[0]["role"] == "system":
            raise ValueError("System role not supported")
        return " ".join(message["content"] for message in messages) + " <assistant>"


def save(output: str, method: str) -> None:
    """What a library leaves: a configuration and weights."""
    Path(output).mkdir(exist_ok=True)
    config = {"quantization_config": {"quant_method": method}} if method else {}
    Path(output, "config.json").write_text(json.dumps(config))
    Path(output, "model.safetensors").write_bytes(b"12345678")


class Recorder:
    """A library that remembers how it was used and saves what it was told it makes."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self.made = False

    def takes(self, name: str) -> Callable[..., Recorder]:
        def call(*args: Any, **kwargs: Any) -> Recorder:
            self.calls[name] = (args, kwargs)
            return self

        return call

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        self.calls["quantize"] = (args, kwargs)
        self.made = True

    def save(self, output: str, **kwargs: Any) -> None:
        self.calls["save"] = ((output,), kwargs)
        save(output, self.method if self.made else "")

    save_quantized = save_pretrained = save
