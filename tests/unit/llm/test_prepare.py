"""From a request to commands, and from a server's answers to what a user sees."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from jetson_containers.core.errors import DoesNotFitError, NothingMatchedError, NotReadyError, StepError, UsageError
from jetson_containers.llm import bench, chat, prepare, serve, service_files, session
from jetson_containers.llm.client import OpenAIClient, Turn
from jetson_containers.llm.containers import Containers, log_of, started_at, without_tokens
from jetson_containers.llm.decide import Goal
from jetson_containers.llm.models import config
from jetson_containers.llm.pipeline import manifest
from jetson_containers.llm.pipeline.types import CommandStep
from jetson_containers.llm.request import LlmRequest, runtime_named
from jetson_containers.llm.runtimes.interface import DRIVERS, Job, ServeOptions, Service, Target
from jetson_containers.llm.runtimes.llama_cpp import QUANTIZATIONS, LlamaCpp
from jetson_containers.llm.stored import Stored, choose, listing, remove
from jetson_containers.platforms import detect
from tests.fakes import FakeEngine
from tests.unit.llm.conftest import CPU, FakeCatalog, no_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.llm.context import LlmContext

ORIN = detect.parse_target("orin-nx-16gb,r36.4.3")
NEW_HELP = "-ngl, --gpu-layers, --n-gpu-layers N  max layers, 'auto', or 'all' (default: auto)\n-lm, --load-mode MODE"
OLD_HELP = "-ngl, --n-gpu-layers N  number of layers to store in VRAM\n--no-mmap  do not memory-map model"


def job(**given: Any) -> Job:
    values: dict[str, Any] = {
        "source": "/data/models/mine", "name": "mine", "config": None, "quantization": "Q4_K_M",
        "target": Target(platform=CPU, device="cpu"), "context": 512,
    }  # fmt: skip
    return Job(**{**values, **given})


def test_llama_cpp_converts_once_and_quantizes_from_that() -> None:
    """Conversion happens once, and quantization starts from its result."""
    convert, quantize = LlamaCpp().steps(job(quantization="q4_k_m"))
    assert convert.argv == (
        "convert_hf_to_gguf.py", "/data/models/mine", "--outfile", "{output}", "--outtype", "f16",
    )  # fmt: skip
    assert convert.intermediate
    assert quantize.argv == ("llama-quantize", "/data/models/llama_cpp/mine/mine-F16.gguf", "{output}", "Q4_K_M")
    assert quantize.output == LlamaCpp().artefact(job()) == "/data/models/llama_cpp/mine/mine-Q4_K_M.gguf"


def test_llama_cpp_sixteen_bits_are_an_artifact_of_their_own() -> None:
    """Sixteen bits are an artifact of their own."""
    (convert,) = LlamaCpp().steps(job(quantization="F16"))
    assert not convert.intermediate


def test_llama_cpp_gguf_file_needs_no_preparation() -> None:
    """A GGUF file needs no preparation."""
    ready = job(source="/data/models/x.gguf", prepared=True)
    assert LlamaCpp().steps(ready) == ()
    assert LlamaCpp().artefact(ready) == "/data/models/x.gguf"


def test_llama_cpp_steps_get_no_network() -> None:
    """No step gets network."""
    assert not any(step.network for step in LlamaCpp().steps(job()))


def test_llama_cpp_server_always_gets_its_context_and_batch() -> None:
    """The server always gets its context and batch."""
    service = LlamaCpp().serve(job(max_batch=2), ServeOptions(port=8080, threads=2))
    assert service.argv == (
        "llama-server", "-m", "/data/models/llama_cpp/mine/mine-Q4_K_M.gguf", "--alias", "mine", "-c", "1024", "-np",
        "2", "-ub", "512", "--host", "127.0.0.1", "--port", "8080", "-t", "2",
    )  # fmt: skip
    assert service.key_env == "LLAMA_API_KEY"


@pytest.mark.parametrize(
    ("said", "expected"),
    [(NEW_HELP, ("--load-mode", "none")), (OLD_HELP, ("-ngl", "99", "--no-mmap")), ("", ("--port", "8080"))],
)
def test_llama_cpp_options_are_spelled_as_the_image_has_them(said: str, expected: tuple[str, ...]) -> None:
    """Options are spelled as the image has them."""
    target = Target(platform=ORIN, device="cuda", probed={"llama-server --help": said})
    argv = LlamaCpp().serve(job(target=target), ServeOptions(port=8080)).argv
    assert argv[-len(expected) :] == expected


def test_llama_cpp_unknown_quantization_lists_the_known_ones() -> None:
    """An unknown quantization lists the known ones."""
    verdict = LlamaCpp().check(job(quantization="q4f16_1"))
    assert not verdict.ok
    assert "Q4_K_M" in verdict.instead


def test_runtime_named_lists_the_known_runtimes() -> None:
    """An unknown runtime lists the known ones."""
    with pytest.raises(UsageError) as caught:
        runtime_named("mlc3")
    assert "llama_cpp" in (caught.value.hint or "")


# Prepare: nothing runs before the verdict and the fit; a dry run asks no engine.


def output(context: LlmContext) -> str:
    assert isinstance(context.console.out, io.StringIO)
    return context.console.out.getvalue()


def test_chat_dry_run_prints_the_commands_and_asks_nobody(context: LlmContext) -> None:
    """A dry run prints the commands and asks nobody."""
    assert (
        chat.chat(LlmRequest(model="tiny", quantization="Q8_0"), chat.ChatOptions(prompt="hi"), context, dry_run=True)
        is None
    )
    assert [line.split()[0] for line in output(context).splitlines()] == [
        "make-tiny-model", "convert_hf_to_gguf.py", "llama-quantize", "llama-server",
    ]  # fmt: skip
    assert "-c 512" in output(context)


def test_prepare_refuses_what_cannot_work_before_anything_starts(context: LlmContext) -> None:
    """What cannot work is refused before anything starts."""
    with pytest.raises(UsageError, match="no quantization `q9`") as caught:
        prepare.prepare(LlmRequest(model="tiny", quantization="q9"), context)
    assert "possible: Q4_K_M" in (caught.value.hint or "")


def test_prepare_refuses_what_does_not_fit_before_anything_starts(context: LlmContext) -> None:
    """What does not fit is refused before anything starts."""
    request = LlmRequest(model=llama(context), quantization="F16", board="orin-nano-8gb")
    with pytest.raises(DoesNotFitError, match="orin-nano-8gb has") as caught:
        prepare.prepare(request, context)
    assert "--quantization" in (caught.value.hint or "")
    assert "`--anyway` goes on" in (caught.value.hint or "")
    assert prepare.plan(replace(request, anyway=True), context).forecast is not None


def test_plan_for_compile_refuses_a_runtime_that_compiles_nothing(context: LlmContext) -> None:
    """A runtime that compiles nothing is refused for `llm compile`."""
    with pytest.raises(UsageError, match="llama_cpp compiles nothing"):
        prepare.plan(LlmRequest(model="tiny"), context, goal=Goal.COMPILED)


def test_plan_takes_the_runtime_of_the_format(context: LlmContext) -> None:
    """The format of the model decides the runtime."""
    path = context.data / "models" / "x.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"GGUF")
    assert prepare.plan(LlmRequest(model="/data/models/x.gguf"), context).steps == ()
    with pytest.raises(UsageError, match="unknown runtime `nonsense`"):
        prepare.plan(LlmRequest(model="/data/models/x.gguf", runtime="nonsense"), context)


def test_target_of_reads_versions_and_device_from_the_image(context: LlmContext) -> None:
    """Versions and device come from the image."""
    engine = FakeEngine()
    engine.add_image(
        "llama_cpp:1",
        {
            "io.jetson-containers.packages": '["python:3.11","llama_cpp:0.3.36"]',
            "io.jetson-containers.platform": '{"cuda":null}',
        },
    )
    gpu = replace(context, platform=detect.parse_target("x86_64,cu129"))
    asked: list[tuple[str, ...]] = []

    class Probing(Containers):
        def capture(self, command: Any) -> str:
            asked.append(tuple(command))
            return "help text"

    containers = Probing(
        platform=gpu.platform,
        engine=engine,
        settings=context.settings,
        console=context.console,
        image="llama_cpp:1",
        image_for=no_engine,
    )
    for _ in range(2):
        target = prepare.target_of(containers, LlamaCpp(), gpu)
        assert target.versions == {"python": "3.11", "llama_cpp": "0.3.36"}
        assert target.device == "cpu"
        assert target.probed == {"llama-server --help": "help text"}
    assert asked == [("llama-server", "--help")]  # kept by the image's ID


def test_target_of_reads_versions_of_an_image_of_others_from_its_tag(context: LlmContext) -> None:
    """Versions of an image of others come from its tag."""
    engine = FakeEngine()
    engine.add_image("dustynv/mlc:0.1.0-r35.4.1")
    containers = Containers(
        platform=CPU,
        engine=engine,
        settings=context.settings,
        console=context.console,
        image="dustynv/mlc:0.1.0-r35.4.1",
        image_for=no_engine,
    )
    silent = LlamaCpp()
    silent.probes = ()
    assert prepare.target_of(containers, silent, context).versions == {"mlc": "0.1.0"}


def llama(context: LlmContext) -> str:
    place = context.data / "models" / "Llama-2-7b-chat-hf"
    place.mkdir(parents=True)
    shape = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
        "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096,
    }  # fmt: skip
    (place / "config.json").write_text(json.dumps(shape))
    (place / "model.safetensors").touch()
    return "/data/models/Llama-2-7b-chat-hf"


@pytest.mark.parametrize(
    ("image", "steps"),
    [
        ("dustynv/mlc:607dc5a-r36.2.0", ["link", "build"]),
        ("dustynv/mlc:3feed05-builder-r36.2.0", ["link", "build"]),
        ("dustynv/mlc:0.1.4-r36.4.2", ["convert", "config", "compile"]),
        ("mine/anything:latest", ["convert", "config", "compile"]),
        ("", ["convert", "config", "compile"]),
    ],
)
def test_plan_takes_the_interface_of_the_tag_of_the_image(context: LlmContext, image: str, steps: list[str]) -> None:
    """A dry run takes the interface of the image's tag."""
    orin = replace(context, platform=ORIN, catalog=lambda: FakeCatalog({"mlc": "0.20.0"}))
    request = LlmRequest(model=llama(orin), runtime="mlc", image=image)
    assert [step.name for step in prepare.plan(request, orin).steps] == steps


# Containers: what docker is told.


@pytest.fixture
def containers(context: LlmContext) -> Containers:
    return Containers(
        platform=CPU,
        engine=FakeEngine(),
        settings=context.settings,
        console=context.console,
        image="image:1",
        image_for=lambda _packages: "other:1",
    )


def test_containers_server_never_has_its_key_in_the_argv(containers: Containers) -> None:
    """A server never has its key in the argv."""
    service = Service(argv=("llama-server",), model="m", key_env="LLAMA_API_KEY")
    planned = containers.server(service, name="s", api_key="topsecret")
    assert "topsecret" not in " ".join(planned.argv)
    assert planned.argv[planned.argv.index("LLAMA_API_KEY") - 1 :][:2] == ("--env", "LLAMA_API_KEY")
    assert planned.env_additions["LLAMA_API_KEY"] == "topsecret"


def test_containers_detached_server_survives_a_reboot_and_has_no_owner(containers: Containers) -> None:
    """A detached server survives a reboot and has no owner."""
    planned = containers.server(Service(argv=("x",), model="m"), name="s", detach=True)
    assert "--rm" not in planned.argv
    assert planned.argv[planned.argv.index("--restart") + 1] == "unless-stopped"
    assert not any("owner" in word for word in planned.argv)


def test_containers_give_servers_and_steps_no_hub_token(
    containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers and steps get no hub token."""
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijkl")
    planned = containers.server(Service(argv=("x",), model="m"), name="s")
    assert not {"HF_TOKEN", "HUGGINGFACE_TOKEN"} & set(planned.argv)
    assert without_tokens({"HF_TOKEN": "hf_abc", "HOME": "/root"}) == {
        "HOME": "/root",
        "HF_TOKEN": "",
        "HUGGINGFACE_TOKEN": "",
    }


def test_containers_name_of_a_step_is_the_same_each_time(containers: Containers) -> None:
    """A step's container has the same name each time."""
    step = CommandStep(name="quantize", argv=("q",), inputs=(), output="/data/m/b.gguf")
    assert containers.name_of(step) == containers.name_of(replace(step, argv=("r",)))
    assert containers.name_of(step) != containers.name_of(replace(step, output="/data/m/c.gguf"))


def test_containers_give_a_step_the_threads_that_were_asked_for(containers: Containers) -> None:
    """A step gets the threads that were asked for, and otherwise decides itself."""
    step = CommandStep(name="quantize", argv=("q",), inputs=(), output="/data/m/b.gguf", env={"A": "b"})
    assert containers.variables(step) == {"A": "b"}
    assert replace(containers, threads=2).variables(step) == {"OMP_NUM_THREADS": "2", "A": "b"}
    assert replace(containers, threads=2).variables(replace(step, env={"OMP_NUM_THREADS": "1"})) == {
        "OMP_NUM_THREADS": "1"
    }


def test_containers_know_a_process_by_its_start() -> None:
    """A process is known by its start."""
    assert started_at(os.getpid()).isdigit()
    assert started_at(2**22 + 1) == ""


# The client against a server of the protocol.


class Server(BaseHTTPRequestHandler):
    """Streams what `answers` say."""

    answers: list[dict[str, Any]] = []  # noqa: RUF012
    asked: list[dict[str, Any]] = []  # noqa: RUF012
    keys: list[str | None] = []  # noqa: RUF012
    status = 200

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked.append(json.loads(body))
        type(self).keys.append(self.headers["Authorization"])
        self.send_response(self.status)
        self.end_headers()
        if self.status != 200:
            self.wfile.write(b'{"error": {"message": "context is full"}}')
            return
        for answer in self.answers:
            self.wfile.write(b": comment\n\ndata: " + json.dumps(answer).encode() + b"\n\n")
        self.wfile.write(b"data: [DONE]\n\n")


@pytest.fixture
def client() -> Iterator[OpenAIClient]:
    Server.answers, Server.asked, Server.keys, Server.status = [], [], [], 200
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield OpenAIClient(host="127.0.0.1", port=server.server_address[1], model="m", key="k")
        server.shutdown()
        thread.join()


def delta(text: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}}], **more}


def ask(client: OpenAIClient, **given: Any) -> tuple[Turn, list[str]]:
    heard: list[str] = []
    turn = client.ask([{"role": "user", "content": "hi"}], max_tokens=5, on_text=heard.append, **given)
    return turn, heard


def test_client_streams_and_counts_an_answer(client: OpenAIClient) -> None:
    """An answer is streamed and counted."""
    Server.answers = [
        delta("A"), delta(" B"), {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}},
    ]  # fmt: skip
    turn, heard = ask(client, temperature=0.0, seed=1)
    assert (turn.text, heard, turn.finish_reason) == ("A B", ["A", " B"], "stop")
    assert (turn.prompt_tokens, turn.completion_tokens) == (7, 3)
    (asked,) = Server.asked
    assert (asked["temperature"], asked["seed"], asked["stream_options"]) == (0.0, 1, {"include_usage": True})
    assert Server.keys == ["Bearer k"]


def test_client_believes_a_server_that_measures_itself(client: OpenAIClient) -> None:
    """A server that measures itself is believed."""
    timings = {"prompt_n": 10, "prompt_ms": 500.0, "predicted_n": 5, "predicted_ms": 1000.0}
    Server.answers = [delta("x", timings=timings)]
    turn, _ = ask(client)
    assert turn.prefill_rate == pytest.approx(20.0)
    assert turn.decode_rate == pytest.approx(5.0)


def test_client_passes_on_an_error_of_the_server(client: OpenAIClient) -> None:
    """An error of the server is passed on."""
    Server.status = 400
    with pytest.raises(StepError, match="context is full"):
        ask(client)
    Server.status = 200
    Server.answers = [{"error": {"message": "out of slots"}}]
    with pytest.raises(StepError, match="out of slots"):
        ask(client)


def test_client_reports_a_server_that_is_gone() -> None:
    """A server that is gone is one clear error."""
    with pytest.raises(StepError, match="stopped answering"):
        ask(OpenAIClient(host="127.0.0.1", port=session.free_port(), model="m"))


def test_client_turn_of_one_token_has_no_speed() -> None:
    """One token has no speed."""
    assert Turn(text="a", prompt_tokens=3, completion_tokens=1, prefill_s=0.1, decode_s=0.0).decode_rate is None
    assert Turn(text="a", prompt_tokens=0, completion_tokens=5, prefill_s=0.0, decode_s=0.0).prefill_rate is None


def test_client_repr_does_not_hold_the_key() -> None:
    """A key is not in the client's repr."""
    assert "topsecret" not in repr(OpenAIClient(host="h", port=1, model="m", key="topsecret"))


# Chat, bench, list, rm.


@pytest.fixture
def talk(client: OpenAIClient, tmp_path: Path, context: LlmContext) -> Any:
    opened = session.Session(
        client=client, log=tmp_path / "log", loaded_s=0.1, image="image:1", service=Service(argv=("s",), model="m")
    )

    def start(**options: Any) -> chat.Conversation:
        return chat.Conversation(session=opened, options=chat.ChatOptions(**options), console=context.console)

    return start


def test_chat_answer_begins_with_its_first_word(talk: Any, context: LlmContext) -> None:
    """An answer begins with its first word, without the space before it."""
    Server.answers = [delta(" Hello"), delta(" you")]
    talk(prompt="hi", system="be brief").run()
    assert output(context) == "Hello you\n"
    assert Server.asked[0]["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]


def test_chat_takes_a_pipe_as_one_question(talk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe is one question."""
    monkeypatch.setattr("sys.stdin", io.StringIO("line 1\nline 2\n"))
    Server.answers = [delta("yes")]
    talk(prompt=chat.piped()).run()
    assert Server.asked[0]["messages"] == [{"role": "user", "content": "line 1\nline 2"}]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_chat_conversation_remembers_and_forgets(talk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversation remembers, and forgets after /reset."""
    lines = iter(["one", "", "two", "/stats", "/reset", "three", "/help", "/exit"])
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda _prompt: next(lines))
    Server.answers = [delta("ok")]
    talk().run()
    said = [[message["content"] for message in asked["messages"]] for asked in Server.asked]
    assert said == [["one"], ["one", "ok", "two"], ["three"]]


def test_chat_conversation_ends_with_the_input(talk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """End of input ends a conversation."""

    def end(_prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", end)
    assert talk().run() is None


def test_chat_answer_json_keeps_the_old_name_of_the_decode_speed() -> None:
    """The JSON of an answer keeps the name that the decode speed had before."""
    answer = chat.ChatAnswer(
        model="m",
        runtime="llama_cpp",
        quantization="Q4_K_M",
        image="i",
        artefact="/data/m",
        answer="hi",
        prompt_tokens=1,
        completion_tokens=2,
        prefill_tokens_per_s=3.0,
        decode_tokens_per_s=4.0,
    )
    shown = answer.to_json()
    assert shown["tokens_per_s"] == shown["decode_tokens_per_s"] == 4.0
    assert shown["answer"] == "hi"


ROW = bench.BenchRow(
    timestamp="20261127 12:00:00",
    hostname="orin",
    api="mlc",
    model="m",
    precision="q4f16_ft",
    input_tokens=16,
    output_tokens=128,
    prefill_time=0.1,
    prefill_rate=160.0,
    decode_time=2.0,
    decode_rate=63.5,
    memory=1234.5,
)


def test_bench_csv_has_the_columns_of_upstream_in_their_order(tmp_path: Path) -> None:
    """The CSV has upstream's columns in their order."""
    path = tmp_path / "mlc.csv"
    bench.append_csv(path, [ROW])
    bench.append_csv(path, [ROW])
    lines = path.read_text().splitlines()
    assert lines[0] == (
        "timestamp,hostname,api,model,precision,input_tokens,output_tokens,prefill_time,prefill_rate,decode_time,"
        "decode_rate,memory"
    )
    assert len(lines) == 3
    assert lines[1].startswith("20261127 12:00:00,orin,mlc,m,q4f16_ft,16,128,")


def test_bench_csv_with_other_columns_is_left_unchanged(tmp_path: Path) -> None:
    """A file with other columns is left unchanged."""
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="other columns"):
        bench.append_csv(path, [ROW])
    assert path.read_text() == "a,b\n1,2\n"


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ('["one", "two"]', ("one", "two")),
        ('[{"text": "one"}, {"prompt": "two"}]', ("one", "two")),
        ("one\n\ntwo\n", ("one", "two")),
    ],
)
def test_bench_prompts_are_read_in_every_form(tmp_path: Path, text: str, prompts: tuple[str, ...]) -> None:
    """Prompts are read in every form."""
    path = tmp_path / "prompts"
    path.write_text(text)
    assert bench.read_prompts(path) == prompts


def test_bench_file_without_prompts_is_refused(tmp_path: Path) -> None:
    """A file without prompts is refused."""
    (tmp_path / "p").write_text("[]")
    with pytest.raises(UsageError, match="no prompt"):
        bench.read_prompts(tmp_path / "p")
    with pytest.raises(UsageError, match="cannot read"):
        bench.read_prompts(tmp_path / "q")


def test_bench_does_not_measure_the_warm_up(client: OpenAIClient, tmp_path: Path, context: LlmContext) -> None:
    """The warm-up is not measured."""
    Server.answers = [delta("a"), delta("b"), {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 8}}]
    prepared = prepare.plan(LlmRequest(model="tiny"), context)
    opened = session.Session(
        client=client,
        log=tmp_path,
        loaded_s=0.1,
        image="image:1",
        service=Service(argv=("s",), model="m", measure={"ignore_eos": True}),
    )
    rows = bench._measure(prepared, opened, bench.BenchOptions(count=2), context)
    assert len(rows) == 2
    assert len(Server.asked) == 3
    assert len({asked["messages"][0]["content"] for asked in Server.asked}) == 3  # no prefix cache helps
    assert all(asked["ignore_eos"] for asked in Server.asked)


def stored(context: LlmContext, name: str, step: str = "quantize", **facts: Any) -> Path:
    path = context.data / "models" / "llama_cpp" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name)
    manifest.write(
        path,
        {"": manifest.measure(path)},
        step=step,
        merge=False,
        key="k",
        seconds=0,
        facts={"model": "org/m", "runtime": "llama_cpp", **facts},
    )
    return path


def test_stored_listing_names_what_is_there_with_sizes(context: LlmContext) -> None:
    """The list names what is there, with sizes."""
    stored(context, "m-Q4.gguf", quantization="Q4_K_M")
    full = stored(context, "m-F16.gguf", "convert", intermediate=True, quantization="Q4_K_M")
    found = listing(context.data, [("org/m", context.data / "hub", 100)], verify=True)
    assert [(one.kind, one.size, one.intact) for one in found] == [
        ("download", 100, None), ("intermediate", 10, True), ("artefact", 9, True),
    ]  # fmt: skip
    full.write_text("m-F16.gguX")
    kinds = {one.kind: one.intact for one in listing(context.data, [], verify=True)}
    assert kinds == {"artefact": True, "intermediate": False}
    full.write_text("shorter")
    # It does not count any more, but takes space: what is listed can be removed.
    listed = {one.kind: one for one in listing(context.data, [])}
    assert {kind: one.intact for kind, one in listed.items()} == {"artefact": None, "intermediate": False}
    remove(listed["intermediate"], context.data)
    assert not full.exists()


def test_stored_listing_leaves_out_a_deleted_intermediate_file(context: LlmContext) -> None:
    """An intermediate file that was deleted is not damage."""
    stored(context, "m-F16.gguf", "convert", intermediate=True).unlink()
    assert listing(context.data, [], verify=True) == []


def test_stored_remove_deletes_the_artifact_and_nothing_else(context: LlmContext) -> None:
    """Removing leaves nothing of the artifact, and everything else."""
    one, other = stored(context, "a.gguf", quantization="Q4_K_M"), stored(context, "b.gguf", quantization="Q8_0")
    (chosen,) = choose(listing(context.data, []), "m", quantization="q4_k_m")
    remove(chosen, context.data)
    assert not one.exists()
    assert sorted(path.name for path in other.parent.iterdir()) == ["b.gguf", "b.gguf.manifest.json"]


def test_stored_remove_of_a_shared_directory_removes_what_every_step_made(context: LlmContext) -> None:
    """Removing a shared directory removes every step's share."""
    place = context.data / "models" / "mlc" / "dist" / "m-MLC"
    place.mkdir(parents=True)
    for step in ("convert", "config"):
        (place / step).write_text(step)
        manifest.write(
            place, {step: manifest.measure(place / step)}, step=step, merge=True, key="k", seconds=0,
            facts={"model": "org/m"},
        )  # fmt: skip
    (chosen, _) = choose(listing(context.data, []), "org/m")
    remove(chosen, context.data)
    assert not place.exists()
    assert not list((context.data / "models").rglob("*.json"))


def test_stored_choose_prefers_the_exact_name(context: LlmContext) -> None:
    """An exact name means no other model with the same last part."""
    downloads = [("org/tiny", context.data / "d1", 1), ("tiny", context.data / "d2", 1)]
    listed = listing(context.data, downloads)
    assert [one.model for one in choose(listed, "tiny")] == ["tiny"]
    assert [one.model for one in choose(listed[:1], "tiny")] == ["org/tiny"]


def test_stored_choose_lists_what_is_there(context: LlmContext) -> None:
    """What is missing lists what is there."""
    stored(context, "m-Q4.gguf")
    with pytest.raises(NothingMatchedError) as caught:
        choose(listing(context.data, []), "nothing")
    assert "org/m" in (caught.value.hint or "")


# Service files.


def test_service_files_compose_has_what_docker_run_would_get(containers: Containers) -> None:
    """A compose file has what docker would be told."""
    planned = containers.server(
        Service(argv=("llama-server", "-m", "$x"), model="m", key_env="LLAMA_API_KEY"),
        name="llm",
        detach=True,
        api_key="topsecret",
    )
    text = service_files.generate("compose", planned, "LLAMA_API_KEY", "MY_KEY")
    assert "topsecret" not in text
    service = yaml.safe_load(text)["services"]["llm"]
    assert service["command"] == ["llama-server", "-m", "$$x"]
    assert (service["image"], service["network_mode"], service["restart"]) == ("image:1", "host", "unless-stopped")
    assert any(volume["target"] == "/data" for volume in service["volumes"])
    assert any(entry.startswith("LLAMA_API_KEY=${MY_KEY:?") for entry in service["environment"])


def test_service_files_quadlet_reaches_the_gpu_by_cdi(context: LlmContext) -> None:
    """A quadlet reaches the GPU by CDI."""
    engine = FakeEngine(replace(FakeEngine().capabilities_, runtimes=("runc", "nvidia")))
    containers = Containers(
        platform=ORIN,
        engine=engine,
        settings=context.settings,
        console=context.console,
        image="image:1",
        image_for=no_engine,
    )
    planned = containers.server(Service(argv=("serve", "a b"), model="m"), name="llm", detach=True)
    text = service_files.generate("quadlet", planned)
    assert "AddDevice=nvidia.com/gpu=all" in text
    assert 'Exec=serve "a b"' in text
    assert "runtime: nvidia" in service_files.generate("compose", planned)


def test_service_files_for_a_board_ask_for_the_gpu_where_this_engine_has_none(context: LlmContext) -> None:
    """A service file for a board asks for the GPU where this engine has none."""
    containers = Containers(
        platform=ORIN,
        engine=FakeEngine(),
        settings=context.settings,
        console=context.console,
        image="image:1",
        image_for=no_engine,
    )
    planned = containers.server(Service(argv=("serve",), model="m"), name="llm", detach=True)
    assert "runtime" not in service_files.generate("compose", planned)
    service = yaml.safe_load(service_files.generate("compose", planned, gpu=True))["services"]["llm"]
    assert service["runtime"] == "nvidia"
    assert "NVIDIA_VISIBLE_DEVICES=all" in service["environment"]


def test_containers_log_has_a_place_where_the_logs_belong_to_another_user(
    context: LlmContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log has a place where the logs are another user's."""

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    assert log_of(context.settings, "s") == context.settings.path("logs") / "llm" / "s.log"
    monkeypatch.setattr(Path, "open", refuse)
    log = log_of(context.settings, "s")
    assert log.is_file()
    assert not log.is_relative_to(context.settings.path("logs"))
    log.unlink()


def test_serve_refuses_a_taken_port(context: LlmContext, client: OpenAIClient) -> None:
    """A port that is taken is refused."""
    assert not serve.is_free("127.0.0.1", client.port)
    with serve.reserved(serve.ServeRequest(), context.data) as port:
        assert port >= serve.DEFAULT_PORT
        with serve.reserved(serve.ServeRequest(), context.data) as other:
            assert other > port  # nobody listens yet, and it is promised all the same
        with pytest.raises(UsageError, match="is taken"), serve.reserved(serve.ServeRequest(port=port), context.data):
            pass


def test_serve_refuses_an_unset_key_before_anything(context: LlmContext) -> None:
    """A key that is not set is refused before anything is done."""
    with pytest.raises(NotReadyError, match="NO_SUCH_KEY"):
        serve.serve(LlmRequest(model="tiny"), serve.ServeRequest(api_key_env="NO_SUCH_KEY"), context, dry_run=True)


def test_session_server_that_ends_says_why(tmp_path: Path) -> None:
    """A server that ends says why."""
    log = tmp_path / "log"
    log.write_text("loading\ntorch.OutOfMemoryError: CUDA out of memory\nKilled\n")
    error = session.server_failed(137, log)
    assert "exit status 137" in error.message
    assert "llm fit" in (error.hint or "")
    assert "MAX_JOBS" not in (error.hint or "")  # nothing was built
    assert any("Killed" in line for line in error.details)


def test_session_memory_is_that_of_the_device() -> None:
    """The memory is the device's."""
    watch = session.MemoryWatch.start()
    assert watch.before > 50e6
    watch.look()
    assert watch.most >= 0


def test_plan_takes_the_first_quantization_by_default(context: LlmContext) -> None:
    """The default quantization is the first."""
    assert prepare.plan(LlmRequest(model="tiny"), context).job.quantization == QUANTIZATIONS[0] == "Q4_K_M"


def config_of(model_type: str, method: str = "") -> config.ModelConfig:
    quantized = config.Quantized(method=method, bits=4, group=128) if method else None
    return config.ModelConfig(
        architecture="",
        model_type=model_type,
        layers=2,
        hidden=64,
        intermediate=128,
        heads=4,
        kv_heads=4,
        head_dim=16,
        vocab=100,
        max_position=4096,
        quantized=quantized,
    )


@pytest.mark.parametrize(
    ("model_type", "method", "says"),
    [("llama", "", ""), ("internlm", "", "does not know"), ("llama", "gptq", ""), ("llama", "awq", "cannot read")],
)
def test_llama_cpp_refuses_what_its_converter_cannot_read(model_type: str, method: str, says: str) -> None:
    """What the converter cannot read is refused with what can read it."""
    verdict = LlamaCpp().check(job(target=Target(platform=ORIN), config=config_of(model_type, method)))
    assert (verdict.ok, says in verdict.reason) == (not says, True)
    assert verdict.ok or verdict.instead.startswith("--runtime ")


def test_llama_cpp_tries_an_architecture_newer_than_the_table_with_a_note() -> None:
    """An architecture newer than the table is tried, with a note."""
    new = job(config=config_of("llama9"))
    assert LlamaCpp().check(new).ok
    assert "llama9" in " ".join(LlamaCpp().notices(new))
    assert LlamaCpp().notices(job(config=config_of("llama"))) == ()


def test_stored_remove_follows_a_link_to_another_disk(context: LlmContext, tmp_path: Path) -> None:
    """What is on another disk is removed where it is listed."""
    context.data.mkdir()
    (tmp_path / "disk").mkdir()
    (context.data / "models").symlink_to(tmp_path / "disk")
    path = stored(context, "m-Q4.gguf", quantization="Q4_K_M")
    (chosen,) = choose(listing(context.data, []), "org/m")
    remove(chosen, context.data)
    assert not path.exists()
    assert (context.data / "models").is_symlink()


def test_stored_remove_refuses_a_path_outside_the_data_directory(context: LlmContext, tmp_path: Path) -> None:
    """Nothing outside the data directory is removed."""
    for path in (tmp_path / "other", context.data, context.data / ".." / "other"):
        with pytest.raises(UsageError, match="is outside"):
            remove(
                Stored(kind="artefact", model="m", runtime="", quantization="", step="", path=str(path), size=0),
                context.data,
            )


def test_stored_remove_refuses_a_repository_that_is_being_downloaded(context: LlmContext) -> None:
    """A repository that is being downloaded is not removed."""
    cache = context.data / "models" / "huggingface"
    for folder in ("models--org--m", "datasets--org--text"):
        (cache / folder / "snapshots").mkdir(parents=True)
    (cache / ".locks" / "models--org--m").mkdir(parents=True)
    lock = cache / ".locks" / "models--org--m" / "blob.lock"
    lock.touch()
    model, text = (
        Stored(kind="download", model=name, runtime="", quantization="", step="", path=str(cache / folder), size=0)
        for name, folder in (("org/m", "models--org--m"), ("org/text", "datasets--org--text"))
    )
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(NotReadyError, match="is being downloaded"):
            remove(model, context.data)
    remove(text, context.data)
    assert sorted(path.name for path in cache.glob("*--*")) == ["models--org--m"]


def test_containers_mount_our_scripts_only_where_one_is_run(containers: Containers) -> None:
    """Our scripts are mounted only where one is run."""
    plain = containers.server(Service(argv=("llama-server", "-m", "x"), model="m"), name="s")
    driven = containers.server(Service(argv=("python3", f"{DRIVERS}/transformers_server.py"), model="m"), name="s")
    assert not any(DRIVERS in word for word in plain.argv)
    assert any(word.endswith(f":{DRIVERS}:ro") for word in driven.argv)


@pytest.mark.parametrize("index", ["tensor-cache.json", "ndarray-cache.json", ""])
@pytest.mark.parametrize("folder", [".", "params"])
def test_plan_accepts_mlc_weights_under_either_name_of_their_index(
    context: LlmContext, index: str, folder: str
) -> None:
    """MLC's weights count under either name of their index."""
    place = context.data / "models" / "mlc" / "dist" / "m-q4f16_1-MLC" / folder
    place.mkdir(parents=True)
    for name in ("mlc-chat-config.json", "params_shard_0.bin", *([index] if index else [])):
        (place / name).write_text("{}")
    request = LlmRequest(model="/data/models/mlc/dist/m-q4f16_1-MLC")
    orin = replace(context, platform=ORIN)
    if index:
        assert prepare.plan(request, orin).runtime.name == "mlc"
        return
    with pytest.raises(UsageError, match="not its whole weights"):
        prepare.plan(request, orin)
