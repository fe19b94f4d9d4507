"""What a running server counts: requests, tokens and cache, from the `/metrics` of its runtime.

The text is Prometheus' exposition format, one `NAME{LABELS} VALUE` per line; what is wanted of it are a dozen numbers.
llama.cpp has it with `--metrics`, vLLM, SGLang and LMDeploy (with `--enable-metrics`) under names of their own.
"""

from __future__ import annotations

import http.client
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jetson_containers.core.errors import NotReadyError
from jetson_containers.core.text import is_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jetson_containers.llm.servers import RunningServer

LARGEST = 4 << 20  # bytes of a page of metrics; vLLM's has about 100 kB
_PATIENCE = 5.0  # seconds
_LABELS = r'\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\}'
_LINE = re.compile(rf"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:{_LABELS})?[ \t]+(?P<value>\S+)(?:[ \t]+-?[0-9]+)?[ \t]*")
# Field → the names it has in one runtime or another, the first that is there counts; of pairs, the quotient.
_ONE: Mapping[str, Sequence[str]] = {
    "running": ("llamacpp:requests_processing", "vllm:num_requests_running", "sglang:num_running_reqs",
                "lmdeploy:num_requests_running"),
    "waiting": ("llamacpp:requests_deferred", "vllm:num_requests_waiting", "sglang:num_queue_reqs",
                "lmdeploy:num_requests_waiting"),
    "prompt_tokens": ("llamacpp:prompt_tokens_total", "vllm:prompt_tokens_total", "sglang:prompt_tokens_total",
                      "lmdeploy:prompt_tokens_total"),
    "generated_tokens": ("llamacpp:tokens_predicted_total", "vllm:generation_tokens_total",
                         "sglang:generation_tokens_total", "lmdeploy:generation_tokens_total"),
}  # fmt: skip
_CACHE = ("llamacpp:kv_cache_usage_ratio", "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc",
          "sglang:token_usage", "lmdeploy:gpu_cache_usage_perc")  # fmt: skip
_RATES: Mapping[str, Sequence[tuple[str, str]]] = {
    "prompt_tokens_per_s": (("llamacpp:prompt_tokens_total", "llamacpp:prompt_seconds_total"),),
    "tokens_per_s": (
        ("llamacpp:tokens_predicted_total", "llamacpp:tokens_predicted_seconds_total"),
        ("vllm:inter_token_latency_seconds_count", "vllm:inter_token_latency_seconds_sum"),
        ("vllm:time_per_output_token_seconds_count", "vllm:time_per_output_token_seconds_sum"),
        ("sglang:inter_token_latency_seconds_count", "sglang:inter_token_latency_seconds_sum"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class ServerMetrics:
    """What a server counted since it started; None where its runtime does not say.

    `running` and `waiting` are requests now, the rates the means of single answers in tokens/s, `cache_used` the share
    of the KV cache that is in use. `problem`: why there is nothing.
    """

    name: str
    model: str
    runtime: str
    url: str
    running: int | None = None
    waiting: int | None = None
    prompt_tokens: int | None = None
    generated_tokens: int | None = None
    prompt_tokens_per_s: float | None = None
    tokens_per_s: float | None = None
    cache_used: float | None = None
    problem: str = ""


def of_server(server: RunningServer, key: str = "") -> ServerMetrics:
    """Ask a server. `key` is sent as a bearer token; what does not answer has a `problem`."""
    facts = server.facts
    begun: dict[str, Any] = {"name": server.name, "model": facts.model, "runtime": facts.runtime, "url": facts.url}
    try:
        return ServerMetrics(**begun, **read(_fetched(facts.url, facts.runtime, key)))
    except NotReadyError as error:
        return ServerMetrics(**begun, problem=error.message)


def read(text: str) -> dict[str, Any]:
    """The fields of `ServerMetrics` in a page. Raises NotReadyError for a page that has none of them."""
    samples = parse(text)
    found: dict[str, Any] = {}
    for field, names in _ONE.items():
        value = next((sum(samples[name]) for name in names if name in samples), None)
        found[field] = round(value) if value is not None else None
    for field, pairs in _RATES.items():
        sums = [(sum(samples[one]), sum(samples[other])) for one, other in pairs if {one, other} <= samples.keys()]
        found[field] = next((round(count / seconds, 2) for count, seconds in sums if seconds > 0), None)
    cache = next((max(samples[name]) for name in _CACHE if name in samples), None)
    found["cache_used"] = round(min(cache, 1.0), 4) if cache is not None else None
    if all(value is None for value in found.values()):
        raise NotReadyError("its /metrics has none of the numbers that are known here")
    return found


def parse(text: str) -> dict[str, list[float]]:
    """The values under each name, one for each set of labels; lines that are no samples are left out.

    So are values that no counter can have: infinite, not a number, below zero, beyond 10^15.
    """
    found: dict[str, list[float]] = {}
    for line in text.splitlines():
        sample = _LINE.fullmatch(line)
        if sample is None:
            continue
        try:
            value = float(sample["value"])
        except ValueError:
            continue
        if math.isfinite(value) and 0 <= value <= 1e15:
            found.setdefault(sample["name"], []).append(value)
    return found


def _fetched(url: str, runtime: str, key: str) -> str:
    """The page of metrics. Raises NotReadyError where there is none, saying what would help."""
    place = urlsplit(url)
    if not place.hostname or not is_number(str(place.port or "")):
        raise NotReadyError("its address is not known")
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {key}"} if key else {})
        answer = connection.getresponse()
        body = answer.read(LARGEST + 1)
    except (OSError, http.client.HTTPException) as error:
        raise NotReadyError(f"it does not answer ({type(error).__name__})") from error
    finally:
        connection.close()
    if answer.status in {401, 403}:
        raise NotReadyError("it wants its key: --api-key-env NAME")
    if answer.status != 200:
        started = (
            "it was started without `--metrics`" if runtime == "llama_cpp" else f"{runtime or 'its server'} has none"
        )
        raise NotReadyError(f"no metrics: {started} (HTTP {answer.status})")
    if len(body) > LARGEST:
        raise NotReadyError(f"its page of metrics is larger than {LARGEST >> 20} MiB")
    return body.decode("utf-8", errors="replace")
