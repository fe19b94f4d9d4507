"""What requests of the OpenAI protocol may say, and what errors look like."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Dict, List, Union

    Messages = List[Dict[str, str]]
    Prompt = Union[str, Messages]


class BadRequest(Exception):  # noqa: N818 - named after the status it becomes
    """A request that cannot be answered; `param` and `code` as in OpenAI's error objects."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.status = status


class GenerationReport:
    """What a backend knows of its own answer; None where it does not say."""

    def __init__(self) -> None:
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.finish_reason: str | None = None


class GenerationOptions:
    """How an answer is to be made. `max_tokens` 0: as many as the context leaves; None: the model's own default."""

    def __init__(
        self,
        max_tokens: int = 0,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: tuple[str, ...] = (),
    ) -> None:
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.top_p = top_p
        self.seed = seed
        self.stop = stop
        self.cancelled = threading.Event()
        self.report = GenerationReport()


class CompletionRequest:
    """A completion request, checked. Raises BadRequest for what is wrong or not offered."""

    def __init__(self, body: dict[str, Any], *, chat: bool, model_id: str) -> None:
        model = body.get("model", model_id)
        if model != model_id:
            what = f"The model `{str(model)[:200]}` is not served, `{model_id}` is."
            raise BadRequest(what, "model", "model_not_found", 404)
        for name, harmless in _NOT_OFFERED:
            if body.get(name) not in harmless:
                raise BadRequest(f"`{name}` is not offered by this server.", name, "unsupported_parameter")
        kind = body.get("response_format")
        if kind is not None and (not isinstance(kind, dict) or kind.get("type", "text") != "text"):
            raise BadRequest("Only the text `response_format` is offered.", "response_format", "unsupported_parameter")
        self.chat = chat
        self.prompt: Prompt = _messages(body.get("messages")) if chat else _text_prompt(body.get("prompt"))
        self.stream = bool(body.get("stream"))
        streaming = body.get("stream_options") or {}
        if not isinstance(streaming, dict):
            raise BadRequest("`stream_options` must be an object.", "stream_options")
        self.include_usage = bool(streaming.get("include_usage"))
        self.echo = bool(body.get("echo")) and not chat
        limit = _number(body, "max_completion_tokens", 1, None, whole=True) if chat else None
        if limit is None:
            limit = _number(body, "max_tokens", 1, None, whole=True)
        if limit is None and not chat:
            limit = 16  # the protocol's default for text completions
        seed = _number(body, "seed", None, None, whole=True)
        self.options = GenerationOptions(
            int(limit or 0),
            _number(body, "temperature", 0, 2),
            _number(body, "top_p", 0, 1),
            None if seed is None else int(seed),
            _stop(body.get("stop")),
        )


# Parameter and the values that ask for nothing.
_NOT_OFFERED: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("n", (None, 1)),
    ("best_of", (None, 1)),
    ("logprobs", (None, False)),
    ("top_logprobs", (None, 0)),
    ("suffix", (None, "")),
    ("tools", (None, [])),
    ("functions", (None, [])),
    ("logit_bias", (None, {})),
)


_ROLES = ("system", "developer", "user", "assistant")  # no set: what a client sends may not be hashable


def _messages(value: Any) -> Messages:
    if not isinstance(value, list) or not value:
        raise BadRequest("`messages` must be a list with at least one message.", "messages")
    messages = []
    for number, message in enumerate(value):
        where = f"messages[{number}]"
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise BadRequest(f"`{where}` needs a role: system, user or assistant.", where)
        role = "system" if message["role"] == "developer" else message["role"]
        messages.append({"role": role, "content": _content(message.get("content"), where)})
    if messages[-1]["role"] == "system":
        raise BadRequest("The last message must be the user's.", "messages")
    return messages


def _content(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    texts = []
    for part in value if isinstance(value, list) else [value]:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise BadRequest(f"`{where}.content` must be text.", f"{where}.content")
        texts.append(part["text"])
    return "".join(texts)


def _text_prompt(value: Any) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str) or not value:
        raise BadRequest("`prompt` must be one text.", "prompt")
    return value


def _number(
    body: dict[str, Any], name: str, low: float | None, high: float | None, *, whole: bool = False
) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    right = isinstance(value, int) if whole else isinstance(value, (int, float))
    if (
        isinstance(value, bool)
        or not right
        or (whole and abs(value) >= 1 << 63)  # what libraries of models take for a number
        or (low is not None and not value >= low)
        or (high is not None and not value <= high)
    ):
        limits = "" if low is None else f" of at least {low:g}" if high is None else f" from {low:g} to {high:g}"
        raise BadRequest(f"`{name}` must be a {'whole ' if whole else ''}number{limits}.", name)
    return float(value) if not whole else value


def _stop(value: Any) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value or []
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise BadRequest("`stop` must be a text or a list of texts.", "stop")
    return tuple(word for word in words if word)


def error_object(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    kind = {401: "authentication_error", 503: "service_unavailable"}.get(status)
    kind = kind or ("server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
