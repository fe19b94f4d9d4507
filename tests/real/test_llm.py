"""The whole pipeline with a real (tiny) model in real containers: hub → GGUF → quantized → chat, serve, bench.

Each step is killed (SIGKILL) while it runs and resumed: nothing that was done is done again, the result is the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import signal
import subprocess
import threading
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jetson_containers.llm.pipeline import manifest
from tests.hubserver import HubServer
from tests.modelserver import ModelServer
from tests.real.watching import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jetson_containers.engine.interface import Engine

ROOT = Path(__file__).resolve().parents[2]
COMMAND = str(ROOT / "jetson-containers")

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(1500)]


def environment(data: Path, **more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if "TOKEN" not in key}
    return {**kept, "JETSON_CONTAINERS_DATA": str(data), "JETSON_CONTAINERS_LOGS": str(data.parent / "logs"), **more}


def run(*argv: str, data: Path, code: int = 0, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [COMMAND, *argv], cwd=data.parent, env=environment(data, **more), input=stdin, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == code, f"{argv} → {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


def kill_during(step: str, *argv: str, data: Path) -> None:
    """Start the command and SIGKILL it as soon as it says that the step runs."""
    with subprocess.Popen(
        [COMMAND, *argv], cwd=data.parent, env=environment(data), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(f"{step}: ") and "already done" not in line:
                break
        else:
            pytest.fail(f"step {step} never ran")
        wait_for_container(step)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_container(step: str) -> None:
    """A step is under way when its container is there; nothing to see where the step is over already."""
    for _ in range(100):
        listed = subprocess.run(
            ["docker", "ps", "-q", "--filter", f"name=jetson-llm-{step}-"], capture_output=True, text=True, check=True
        )
        if listed.stdout.strip():
            return
        threading.Event().wait(0.05)


def containers_of(data: Path) -> list[str]:
    """The containers of steps that see this data directory; other runs may have some at the same time."""
    listed = subprocess.run(
        ["docker", "ps", "-aq", "--filter", "name=jetson-llm-"], capture_output=True, text=True, check=True
    )
    form = "{{.Name}}{{range .Mounts}} {{.Source}}{{end}}"
    found = []
    for container in listed.stdout.split():
        shown = subprocess.run(  # it may be gone by now
            ["docker", "inspect", "--format", form, container], capture_output=True, text=True, check=False
        )
        found += [shown.stdout.split()[0]] if str(data) in shown.stdout.split() else []
    return found


def wait_until(happened: Callable[[], bool]) -> None:
    for _ in range(600):
        if happened():
            return
        threading.Event().wait(0.05)
    pytest.fail("it never happened")


def fingerprint(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    """The image with llama.cpp, built where it is not there."""
    env = {**os.environ, "JETSON_CONTAINERS_ALLOW_INSTALL": "1"}
    subprocess.run([str(ROOT / "build.sh"), "llama_cpp"], cwd=ROOT, env=env, stdin=subprocess.DEVNULL, check=True)
    done = subprocess.run(
        [str(ROOT / "autotag"), "--disable", "registry,build", "llama_cpp"], cwd=ROOT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.fixture(scope="module")
def data(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in which the tiny model has been made once."""
    data = tmp_path_factory.mktemp("llm") / "data"
    run("llm", "quantize", "tiny", "--image", image, "--until", "make", data=data)
    return data


MEGABYTES = 1024 * 1024
PADDING = bytes(3 * MEGABYTES)
ARTEFACT = "models/llama_cpp/tiny-llama/tiny-llama-Q4_K_M.gguf"


def test_steps_that_are_killed_resume(image: str, data: Path) -> None:
    """Every step can be killed and resumes."""
    argv = ("llm", "quantize", "tiny", "--image", image)
    reference = run(*argv, data=data)
    assert reference.stdout.strip() == str(data / ARTEFACT)
    wanted = fingerprint(data / ARTEFACT)
    run("llm", "rm", "tiny", "--quantization", "Q4_K_M", "-y", data=data)
    assert not (data / ARTEFACT).exists()
    run("llm", "quantize", "tiny", "--image", image, "--until", "make", data=data)

    kill_during("convert", *argv, data=data)
    assert not (data / ARTEFACT).exists()
    assert [m.step for m in manifest.below(data)] == ["make"]
    kill_during("quantize", *argv, data=data)
    assert not (data / ARTEFACT).exists()
    assert [m.step for m in manifest.below(data)] == ["convert", "make"]

    resumed = run(*argv, data=data)
    assert resumed.stderr.count("already done") == 2
    assert "✓ quantize" in resumed.stderr
    assert fingerprint(data / ARTEFACT) == wanted
    assert not list(data.rglob("*.part"))
    assert containers_of(data) == []


@pytest.mark.parametrize("quantization", ["Q4_K_M", "Q8_0"])
def test_chat_answers_what_the_model_learned(image: str, data: Path, quantization: str) -> None:
    """The model answers what it learned."""
    argv = ("llm", "chat", "tiny", "--image", image, "--quantization", quantization, "--temperature", "0")
    answer = json.loads(run(*argv, "-p", "What is a Jetson?", "--json", data=data).stdout)
    assert "small computer with a GPU" in answer["answer"]
    assert (answer["runtime"], answer["quantization"]) == ("llama_cpp", quantization)
    assert answer["decode_tokens_per_s"] > 0
    assert answer["completion_tokens"] > 5


def test_chat_takes_a_question_by_a_pipe_and_prints_only_the_answer(image: str, data: Path) -> None:
    """A question may come by a pipe, and the answer is all there is on the standard output."""
    done = run("llm", "chat", "tiny", "--image", image, "--temperature", "0", data=data, stdin="Who are you?\n")
    assert done.stdout.startswith("I am a tiny llama")
    assert done.stdout.count("\n") == 1


def test_quantize_does_not_need_the_intermediate_file_again(image: str, data: Path) -> None:
    """The intermediate file is not needed again."""
    (data / "models/llama_cpp/tiny-llama/tiny-llama-F16.gguf").unlink(missing_ok=True)
    done = run("llm", "quantize", "tiny", "--image", image, data=data)
    assert "✓" not in done.stderr


def test_artifact_that_was_copied_is_used_without_its_source(image: str, data: Path, tmp_path: Path) -> None:
    """Made on a big machine, used on a small one: only the file and its manifest are copied."""
    small = tmp_path / "data"
    for name in (ARTEFACT, ARTEFACT + manifest.SUFFIX):
        (small / name).parent.mkdir(parents=True, exist_ok=True)
        (small / name).write_bytes((data / name).read_bytes())
    done = run("llm", "chat", "tiny", "--image", image, "-p", "Who are you?", "--temperature", "0", data=small)
    assert "tiny llama" in done.stdout
    assert "make" not in done.stderr
    assert not (small / "models/tiny-llama").exists()


def test_chat_serves_a_gguf_file_as_it_is(image: str, data: Path) -> None:
    """A GGUF file is served as it is."""
    done = run("llm", "chat", str(data / ARTEFACT), "--image", image, "-p", "Who are you?", data=data)
    assert "tiny llama" in done.stdout


@pytest.mark.parametrize("source", ["hub", "ollama", "direct"])
def test_chat_fetches_a_gguf_file_that_is_not_here_and_answers(
    image: str, data: Path, tmp_path: Path, source: str
) -> None:
    """A file of the hub, of a registry and of any server is fetched by `chat` itself, once, and answers."""
    run("llm", "quantize", "tiny", "--image", image, data=data)
    weights, place = (data / ARTEFACT).read_bytes(), tmp_path / "data"
    place.mkdir()
    with HubServer() as hub, ModelServer() as server:
        hub.add("org/tiny-GGUF", {"tiny-Q4_K_M.gguf": weights})
        server.add_ollama("library/small", "1b", weights, file_type="Q4_K_M")
        server.plain["/files/tiny-Q4_K_M.gguf"] = weights
        name = {
            "hub": "org/tiny-GGUF:Q4_K_M",
            "ollama": f"ollama://{server.host}/library/small:1b",
            "direct": f"https://{server.host}/files/tiny-Q4_K_M.gguf",
        }[source]
        for _ in range(2):
            hub.forget()
            server.forget()
            done = run("llm", "chat", name, "--image", image, "-p", "Who are you?", data=place, HF_ENDPOINT=hub.url)
            assert "tiny llama" in done.stdout
        fetched_again = sum({**hub.sent, **server.sent}.values())
        assert fetched_again < 1000  # bytes: what the model is may be asked again, its weights may not


@pytest.fixture
def served(image: str, data: Path) -> Iterator[tuple[str, int]]:
    """A detached server with a key; ends with the test."""
    done = run(
        "llm", "serve", "tiny", "--image", image, "--detach", "--json", "--api-key-env", "SERVER_KEY", data=data,
        SERVER_KEY="sesame-open-123",
    )  # fmt: skip
    answer = json.loads(done.stdout)
    yield answer["name"], int(answer["url"].split(":")[2].split("/")[0])
    subprocess.run(["docker", "rm", "-f", answer["name"]], capture_output=True, check=True)


def test_rm_refuses_a_model_that_is_served(served: tuple[str, int], data: Path) -> None:
    """A model that is served is not deleted."""
    refused = run("llm", "rm", "tiny", "-y", data=data, code=2)
    assert f"`jetson-containers llm stop {served[0]}`" in refused.stderr
    assert (data / ARTEFACT).exists()


def test_servers_are_listed_found_again_and_stopped(image: str, data: Path) -> None:
    """A detached server is listed, found in the place of a second copy, its log read, and ended by its model's name."""
    words = ("llm", "serve", "tiny", "--image", image, "--detach", "--webui")
    url = run(*words, data=data).stdout.strip()
    again = run(*words, data=data)
    assert again.stdout.strip() == url
    assert "already served" in again.stderr
    (mine,) = [one for one in json.loads(run("llm", "ps", "--json", data=data).stdout) if one["data"] == str(data)]
    with urllib.request.urlopen(mine["webui"]) as page:
        assert b"<title>Chat</title>" in page.read()
    assert (mine["url"], mine["model"], mine["status"], mine["detached"]) == (url, "tiny-llama", "running", True)
    shown = run("llm", "logs", mine["name"], data=data)
    assert "listening on http:" in shown.stdout + shown.stderr
    assert run("llm", "stop", mine["name"], data=data).stdout.strip() == mine["name"]
    assert mine["name"] not in run("llm", "ps", "--json", data=data).stdout


def test_openai_client_talks_to_the_server(served: tuple[str, int]) -> None:
    """The client of OpenAI talks to the server."""
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"http://127.0.0.1:{served[1]}/v1", api_key="sesame-open-123") as client:
        (model,) = client.models.list().data
        question = [{"role": "user", "content": "What is a Jetson?"}]
        whole = client.chat.completions.create(model=model.id, messages=question, temperature=0, max_tokens=48)
        assert "small computer" in whole.choices[0].message.content
        stream = client.chat.completions.create(
            model=model.id, messages=question, temperature=0, max_tokens=48, stream=True,
            stream_options={"include_usage": True},
        )  # fmt: skip
        parts = list(stream)
        text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
        assert text == whole.choices[0].message.content
        assert parts[-1].usage.completion_tokens == whole.usage.completion_tokens
    stranger = openai.OpenAI(base_url=f"http://127.0.0.1:{served[1]}/v1", api_key="wrong", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError):
        stranger.chat.completions.create(model=model.id, messages=question)


def test_server_listens_on_loopback_only_and_hides_its_key(served: tuple[str, int]) -> None:
    """A server listens on loopback only, and its key shows nowhere."""
    name, port = served
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    rows = [line.split()[1] for line in listening.splitlines() if f":{port:04X} " in line and " 0A " in line]
    assert rows == [f"0100007F:{port:04X}"]
    shown = subprocess.run(["docker", "inspect", name], capture_output=True, text=True, check=True).stdout
    command = json.dumps([json.loads(shown)[0]["Args"], json.loads(shown)[0]["Config"]["Labels"]])
    assert "sesame" not in command
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "sesame" not in processes


def test_key_of_a_server_is_in_nothing_that_it_leaves(served: tuple[str, int], data: Path) -> None:
    """Asked with the right key and a wrong one: no list, log, file or message has it; the container's variable does."""
    name, port = served
    for key in ("sesame-open-123", "sesame-wrong-456"):
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/v1/models", headers={"Authorization": f"Bearer {key}"})
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(asked) as answer:
            assert answer.status == 200
    words = (
        "llm",
        "serve",
        "tiny",
        "--image",
        "no/such:image",
        "--port",
        str(port),
        "--api-key-env",
        "SERVER_KEY",
        "-v",
    )
    refused = subprocess.run(
        [COMMAND, *words], cwd=data.parent, env=environment(data, SERVER_KEY="sesame-open-123"), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert refused.returncode != 0
    said = [refused] + [
        run(*line, data=data)
        for line in (
            ("llm", "logs", name),
            ("llm", "ps", "--json"),
            ("llm", "ps"),
            ("config", "list"),
            ("info", "--json"),
        )
    ]
    said.append(subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=True))
    said.append(subprocess.run(["docker", "top", name, "-eo", "args"], capture_output=True, text=True, check=False))
    assert [done.args for done in said if "sesame" in done.stdout + done.stderr] == []
    files = [path for path in data.parent.rglob("*") if path.is_file() and path.stat().st_size < 1 << 20]
    assert [path for path in files if b"sesame" in path.read_bytes()] == []
    (shown,) = json.loads(subprocess.run(["docker", "inspect", name], capture_output=True, check=True).stdout)
    assert shown["Config"].pop("Env").count("LLAMA_API_KEY=sesame-open-123") == 1
    assert "sesame" not in json.dumps(shown)


def test_key_of_a_server_is_in_no_program_that_looks_at_it(
    served: tuple[str, int], image: str, data: Path, tmp_path: Path
) -> None:
    """What lists, counts, measures, checks and reports while a server runs has its key in no argv and no environment.

    But for the programs in the server's own container, and `metrics`, which is given it; not what `metrics` starts.
    """
    key = "sesame-open-123"
    page = tmp_path / "report.html"
    before = Watcher([key])
    before.look()  # the programs of the server itself
    with Watcher([key]) as watcher:
        run("llm", "ps", "--json", data=data)
        run("llm", "metrics", served[0], "--api-key-env", "SERVER_KEY", data=data, SERVER_KEY=key)
        for words in (
            ("doctor", "--json"),
            ("llm", "bench", "tiny", "--image", image, "--max-num-prompts", "1", "--max-new-tokens", "4"),
            ("verify", image),
            ("report", "--output", str(page)),
        ):
            done = subprocess.run(
                [COMMAND, *words], cwd=data.parent, env=environment(data), stdin=subprocess.DEVNULL,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert key not in done.stdout + done.stderr
            assert b"Traceback" not in done.stderr.encode(), done.stderr
    assert watcher.found == set()
    assert {line for line in watcher.environments - before.environments if b"\0llm\0metrics\0" not in line} == set()
    assert any(b"docker" in line for line in watcher.seen)
    assert not page.is_file() or key not in page.read_text()


def test_server_of_llama_cpp_stands_behind_the_checks(image: str, data: Path) -> None:
    """Pages from elsewhere and upgrades are refused in front of llama-server, whose answers come through."""
    with foreground(image, data) as (process, host, port):
        asked = [
            status_of(host, port, {}),
            status_of(host, port, {"Host": "evil.example"}),
            status_of(host, port, {"Origin": "http://evil.example"}),
            status_of(host, port, {"Upgrade": "websocket", "Connection": "Upgrade"}),
        ]
        body = {"messages": [{"role": "user", "content": "What is a Jetson?"}], "max_tokens": 8, "stream": True}
        request = urllib.request.Request(
            f"http://{host}:{port}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            events = answer.read().decode().split("\n\n")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
    assert asked == [200, 403, 403, 501]
    assert len([event for event in events if event.startswith("data: {")]) > 1
    assert events[-2] == "data: [DONE]"


def status_of(host: str, port: int, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", "/health", headers=headers)
        return connection.getresponse().status


def test_bench_measures_prefill_and_decode(image: str, data: Path, tmp_path: Path) -> None:
    """The benchmark measures prefill and decode."""
    csv = tmp_path / "out" / "bench.csv"
    argv = ("llm", "bench", "tiny", "--image", image, "--max-new-tokens", "16", "--input-tokens", "32")
    report = json.loads(run(*argv, "--json", "--save", str(csv), data=data).stdout)
    assert len(report["rows"]) == 3
    assert all(row["output_tokens"] == 16 and row["input_tokens"] > 16 for row in report["rows"])
    assert report["decode_tokens_per_s"] > 0
    assert report["prefill_tokens_per_s"] > 0
    assert len(csv.read_text().splitlines()) == 4


@contextlib.contextmanager
def foreground(image: str, data: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """`llm serve` and where it listens."""
    with subprocess.Popen(
        [COMMAND, "llm", "serve", "tiny", "--image", image, *more], cwd=data.parent, env=environment(data),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        host, port = process.stdout.readline().strip().removeprefix("http://").removesuffix("/v1").split(":")
        yield process, host, int(port)


def orphan(image: str, data: Path) -> tuple[str, int]:
    """Where a server listens whose `llm serve` was killed."""
    with foreground(image, data) as (process, host, port):
        process.kill()
    assert is_up(host, port)
    return host, port


def test_server_whose_owner_was_killed_is_ended_by_the_next(image: str, data: Path) -> None:
    """A server whose owner was killed is ended by the next."""
    host, port = orphan(image, data)
    run("llm", "chat", "tiny", "--image", image, "-p", "Who are you?", data=data)
    assert not is_up(host, port)


def test_server_port_of_a_killed_one_is_taken_over_by_the_next(image: str, data: Path) -> None:
    """As a systemd unit does that starts it again."""
    host, port = orphan(image, data)
    with foreground(image, data, "--port", str(port)) as (process, _, again):
        assert again == port
        assert is_up(host, port)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 0
    assert not is_up(host, port)


def test_ctrl_c_ends_a_server_in_the_foreground(image: str, data: Path) -> None:
    """Ctrl-C ends a server in the foreground."""
    with foreground(image, data) as (process, host, port):
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 0
    assert not is_up(host, port)


def test_model_that_cannot_be_loaded_says_why(image: str, data: Path) -> None:
    """A model that cannot be loaded says why."""
    broken = data / "models" / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 100)
    done = run("llm", "chat", str(broken), "--image", image, "-p", "hi", data=data, code=1)
    assert done.stderr.count("error:") == 1
    assert "before it had loaded the model" in done.stderr
    assert "Traceback" not in done.stderr


def is_up(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


# The same from the hub's real protocol, and what goes wrong there.


@pytest.fixture(scope="module")
def hub(data: Path) -> Iterator[HubServer]:
    """A hub with the tiny model, once open and once gated."""
    files = {path.name: path.read_bytes() for path in sorted((data / "models/tiny-llama").iterdir())}
    with HubServer() as server:
        server.add("tests/tiny-chat", files)
        server.add("tests/gated-chat", files, gated=True)
        server.add("tests/big-chat", {**files, "padding.dat": PADDING})
        yield server


def test_chat_goes_from_a_name_on_the_hub_to_an_answer(image: str, hub: HubServer, tmp_path: Path) -> None:
    """A name on the hub is enough for an answer."""
    data = tmp_path / "data"
    argv = ("llm", "chat", "tests/tiny-chat", "--image", image, "--temperature", "0", "-p", "What is a Jetson?")
    first = run(*argv, data=data, HF_ENDPOINT=hub.url)
    assert "small computer" in first.stdout
    assert [m.facts["model"] for m in manifest.below(data)] == ["tests/tiny-chat"] * 2
    assert all(len(m.facts["revision"]) == 40 for m in manifest.below(data))
    hub.forget()
    second = run(*argv, data=data, HF_ENDPOINT=hub.url)
    assert second.stdout == first.stdout
    assert "✓ download" not in second.stderr
    assert not hub.file_requests("model.safetensors")
    offline = run("--offline", *argv, data=data, HF_ENDPOINT="http://127.0.0.1:9")
    assert offline.stdout == first.stdout


def test_download_that_is_killed_goes_on_where_it_stopped(image: str, hub: HubServer, tmp_path: Path) -> None:
    """A download that is killed goes on where it stopped."""
    data = tmp_path / "data"
    argv = ("llm", "quantize", "tests/big-chat", "--image", image, "--quantization", "Q8_0")
    go_on = threading.Event()
    hub.forget()
    hub.fail("padding.dat", times=0, hang=go_on, hang_at=2 * MEGABYTES)  # after its redirection, too
    with subprocess.Popen(
        [COMMAND, *argv], cwd=tmp_path, env=environment(data, HF_ENDPOINT=hub.url), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    ) as process:  # fmt: skip
        padding = hashlib.sha256(PADDING).hexdigest()  # the other files come at the same time, and to their end
        wait_until(lambda: any(part.stat().st_size for part in data.rglob(f"{padding}.incomplete")))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    go_on.set()
    hub.forget()
    run(*argv, data=data, HF_ENDPOINT=hub.url)
    ranges = {seen.range for seen in hub.seen if "/storage/" in seen.path and "padding" in seen.path}
    assert ranges
    assert all(wanted.startswith("bytes=") and not wanted.startswith("bytes=0-") for wanted in ranges)
    assert [m.step for m in manifest.below(data)] == ["convert", "quantize"]


def test_gated_model_without_a_token_is_an_error_before_anything_starts(
    image: str, hub: HubServer, tmp_path: Path
) -> None:
    """A gated model without a token is an error before anything starts."""
    argv = ("llm", "chat", "tests/gated-chat", "--image", image, "-p", "hi")
    done = run(*argv, data=tmp_path / "data", code=4, HF_ENDPOINT=hub.url)
    assert "gated" in done.stderr
    assert "HF_TOKEN" in done.stderr
    answered = run(*argv, data=tmp_path / "data", HF_ENDPOINT=hub.url, HF_TOKEN="good")
    assert answered.stdout.strip()
    assert "good" not in answered.stderr


def test_model_that_the_hub_lacks_is_not_found(image: str, hub: HubServer, tmp_path: Path) -> None:
    """What the hub does not have is not found."""
    argv = ("llm", "chat", "tests/nothing", "--image", image, "-p", "hi")
    done = run(*argv, data=tmp_path / "data", code=3, HF_ENDPOINT=hub.url)
    assert done.stderr.count("error:") == 1


def test_list_and_rm_know_what_is_there(image: str, data: Path) -> None:
    """`list` and `rm` know what is there."""
    run("llm", "quantize", "tiny", "--image", image, data=data)
    rows = json.loads(run("llm", "list", "--verify", "--json", data=data).stdout)
    mine = {(row["kind"], row["quantization"]): row for row in rows}
    assert mine[("artefact", "Q4_K_M")]["intact"] is True
    assert mine[("artefact", "Q4_K_M")]["size"] == (data / ARTEFACT).stat().st_size
    refused = run("llm", "rm", "tiny", data=data, code=2)
    assert "would be deleted" in refused.stderr
    run("llm", "rm", "tiny", "-y", data=data)
    assert {path.name for path in (data / "models").rglob("*.gguf")} <= {"broken.gguf"}
