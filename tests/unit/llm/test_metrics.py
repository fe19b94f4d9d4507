"""Pages of metrics of several runtimes, servers that have none, and any text in their place."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetson_containers.cli.main import main
from jetson_containers.core.errors import NotReadyError
from jetson_containers.llm import metrics
from jetson_containers.llm.servers import RunningServer
from tests.unit.llm.test_servers import QWEN, container, running

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["running"]  # the fixture
# In the form of llama-server and of vLLM 0.10; the numbers are invented.
LLAMA_CPP = """\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 1200
llamacpp:prompt_seconds_total 4.0
llamacpp:tokens_predicted_total 900
llamacpp:tokens_predicted_seconds_total 45
llamacpp:requests_processing 1
llamacpp:requests_deferred 2
llamacpp:kv_cache_usage_ratio 0.25
"""
VLLM = """\
vllm:num_requests_running{engine="0",model_name="a } \\"b\\""} 2.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting{engine="0"} 0.0
vllm:kv_cache_usage_perc{engine="0"} 0.5
vllm:kv_cache_usage_perc{engine="1"} 0.75
vllm:prompt_tokens_total{engine="0"} 3e3 1730000000000
vllm:generation_tokens_total{engine="0"} 640
vllm:time_per_output_token_seconds_sum{engine="0"} 12.5
vllm:time_per_output_token_seconds_count{engine="0"} 500
vllm:time_per_output_token_seconds_bucket{engine="0",le="+Inf"} 500
"""


def test_metrics_of_llama_cpp_are_read() -> None:
    """Counts, and rates from tokens and the seconds they took."""
    assert metrics.read(LLAMA_CPP) == {
        "running": 1, "waiting": 2, "prompt_tokens": 1200, "generated_tokens": 900, "prompt_tokens_per_s": 300.0,
        "tokens_per_s": 20.0, "cache_used": 0.25,
    }  # fmt: skip


def test_metrics_of_vllm_are_those_of_all_its_engines() -> None:
    """Requests of several engines are added, the fullest cache counts, and what is not said stays open."""
    assert metrics.read(VLLM) == {
        "running": 3, "waiting": 0, "prompt_tokens": 3000, "generated_tokens": 640, "prompt_tokens_per_s": None,
        "tokens_per_s": 40.0, "cache_used": 0.75,
    }  # fmt: skip


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "1e16", "many", ""])
def test_metrics_that_no_server_can_have_are_not_read(value: str) -> None:
    """A value that is not a count is not taken for one."""
    assert metrics.parse(f"llamacpp:requests_processing {value}\n") == {}


def test_metrics_of_a_page_without_known_numbers_are_refused() -> None:
    """A page of another program says nothing, which is not zero."""
    with pytest.raises(NotReadyError, match="none of the numbers"):
        metrics.read("go_goroutines 5\n<html>\n")


@given(st.text(max_size=300))
def test_metrics_reader_survives_any_text(text: str) -> None:
    """Any text is read, in any place of a line."""
    for page in (text, f"vllm:x{{a={text}}} 1", f"vllm:x {text}", f'vllm:x{{a="{text}'):
        assert all(0 <= value <= 1e15 for values in metrics.parse(page).values() for value in values)


@pytest.fixture
def page() -> Iterator[dict[str, Any]]:
    """A server on loopback, with what it answers at /metrics, and whom it lets in."""
    told: dict[str, Any] = {"status": 200, "body": LLAMA_CPP, "key": "", "paths": []}

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told["paths"].append(self.path)
            wrong = told["key"] and self.headers["Authorization"] != f"Bearer {told['key']}"
            self.send_response(401 if wrong else told["status"])
            self.end_headers()
            self.wfile.write(told["body"].encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        told["url"] = f"http://127.0.0.1:{server.server_port}/v1"
        yield told
        server.shutdown()


def server(url: str, runtime: str = "llama_cpp") -> RunningServer:
    facts = replace(QWEN, url=url, runtime=runtime)
    return RunningServer(name="a", id="1", status="running", since="", image="i:1", facts=facts)


def test_metrics_of_a_server_are_those_of_its_port(page: dict[str, Any]) -> None:
    """The page lies beside /v1, and a key is sent where one is given."""
    page["key"] = "k3y"
    assert "--api-key-env" in metrics.of_server(server(page["url"])).problem
    found = metrics.of_server(server(page["url"]), "k3y")
    assert (found.tokens_per_s, found.problem) == (20.0, "")
    assert set(page["paths"]) == {"/metrics"}


@pytest.mark.parametrize(
    ("told", "runtime", "says"),
    [
        ({"status": 501}, "llama_cpp", "without `--metrics`"),
        ({"status": 404}, "mlc", "mlc has none"),
        ({"body": "x" * (metrics.LARGEST + 1)}, "vllm", "larger than 4 MiB"),
        ({"body": "hello"}, "vllm", "none of the numbers"),
    ],
)
def test_metrics_that_are_not_there_say_why(
    told: dict[str, Any], runtime: str, says: str, page: dict[str, Any]
) -> None:
    """A runtime without metrics, and an answer of another kind, are said and are not zeros."""
    page.update(told)
    found = metrics.of_server(server(page["url"], runtime))
    assert says in found.problem
    assert found.running is None


@pytest.mark.parametrize("url", ["", "http://", "http://127.0.0.1:1/v1"])
def test_metrics_of_a_server_that_does_not_answer_say_so(url: str) -> None:
    """Neither an address that is missing nor one where nothing listens ends the command."""
    assert metrics.of_server(server(url)).problem


def test_metrics_command_shows_each_server(
    running: list[dict[str, Any]], page: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """One row for each server that runs; 1 where one has no metrics."""
    running[:] = [container("a", replace(QWEN, url=page["url"])), container("gone", QWEN, status="exited")]
    assert main(["llm", "metrics", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["name"], found["running"], found["waiting"], found["cache_used"]) == ("a", 1, 2, 0.25)
    running.append(container("b", replace(QWEN, url="http://127.0.0.1:1/v1", model="other")))
    assert main(["llm", "metrics"]) == 1
    shown = capsys.readouterr().out
    assert "20.0" in shown
    assert "does not answer" in shown
    assert main(["llm", "metrics", "other"]) == 1
    assert main(["llm", "metrics", "--api-key-env", "NO_SUCH_KEY"]) == 4
