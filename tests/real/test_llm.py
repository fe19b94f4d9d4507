"""The whole pipeline with a real (tiny) model in real containers: hub → GGUF → quantized → chat, serve, bench.

Each step is killed (SIGKILL) while it runs and resumed: nothing that was done is done again, the result is the same.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jetson_containers import manifests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.engine.base import Engine

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


ARTEFACT = "models/llama_cpp/tiny-llama/tiny-llama-Q4_K_M.gguf"


def test_every_step_can_be_killed_and_resumes(image: str, data: Path) -> None:
    argv = ("llm", "quantize", "tiny", "--image", image)
    reference = run(*argv, data=data)
    assert reference.stdout.strip() == str(data / ARTEFACT)
    wanted = fingerprint(data / ARTEFACT)
    run("llm", "rm", "tiny", "--quantization", "Q4_K_M", "-y", data=data)
    assert not (data / ARTEFACT).exists()
    run("llm", "quantize", "tiny", "--image", image, "--until", "make", data=data)

    kill_during("convert", *argv, data=data)
    assert not (data / ARTEFACT).exists()
    assert [m.step for m in manifests.below(data)] == ["make"]
    kill_during("quantize", *argv, data=data)
    assert not (data / ARTEFACT).exists()
    assert [m.step for m in manifests.below(data)] == ["convert", "make"]

    resumed = run(*argv, data=data)
    assert resumed.stderr.count("already done") == 2
    assert "✓ quantize" in resumed.stderr
    assert fingerprint(data / ARTEFACT) == wanted
    assert not list(data.rglob("*.part"))
    left = subprocess.run(
        ["docker", "ps", "-aq", "--filter", "name=jetson-llm-"], capture_output=True, text=True, check=True
    )
    assert left.stdout == ""


@pytest.mark.parametrize("quantization", ["Q4_K_M", "Q8_0"])
def test_it_answers_what_it_learned(image: str, data: Path, quantization: str) -> None:
    argv = ("llm", "chat", "tiny", "--image", image, "--quantization", quantization, "--temperature", "0")
    answer = json.loads(run(*argv, "-p", "What is a Jetson?", "--json", data=data).stdout)
    assert "small computer with a GPU" in answer["answer"]
    assert (answer["runtime"], answer["quantization"]) == ("llama_cpp", quantization)
    assert answer["decode_tokens_per_s"] > 0
    assert answer["completion_tokens"] > 5


def test_a_question_may_come_by_a_pipe_and_the_answer_is_all_there_is_on_stdout(image: str, data: Path) -> None:
    done = run("llm", "chat", "tiny", "--image", image, "--temperature", "0", data=data, stdin="Who are you?\n")
    assert done.stdout.startswith("I am a tiny llama")
    assert done.stdout.count("\n") == 1


def test_the_intermediate_file_is_not_missed(image: str, data: Path) -> None:
    (data / "models/llama_cpp/tiny-llama/tiny-llama-F16.gguf").unlink(missing_ok=True)
    done = run("llm", "quantize", "tiny", "--image", image, data=data)
    assert "✓" not in done.stderr


def test_an_artefact_that_travelled_is_used_without_its_source(image: str, data: Path, tmp_path: Path) -> None:
    """Made on a big machine, used on a small one: only the file and its manifest are copied."""
    small = tmp_path / "data"
    for name in (ARTEFACT, ARTEFACT + manifests.SUFFIX):
        (small / name).parent.mkdir(parents=True, exist_ok=True)
        (small / name).write_bytes((data / name).read_bytes())
    done = run("llm", "chat", "tiny", "--image", image, "-p", "Who are you?", "--temperature", "0", data=small)
    assert "tiny llama" in done.stdout
    assert "make" not in done.stderr
    assert not (small / "models/tiny-llama").exists()


def test_a_gguf_file_is_served_as_it_is(image: str, data: Path) -> None:
    done = run("llm", "chat", str(data / ARTEFACT), "--image", image, "-p", "Who are you?", data=data)
    assert "tiny llama" in done.stdout


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


def test_the_openai_client_talks_to_the_server(served: tuple[str, int]) -> None:
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
    with openai.OpenAI(base_url=f"http://127.0.0.1:{served[1]}/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(model=model.id, messages=question)


def test_a_server_listens_on_loopback_only_and_its_key_is_nowhere(served: tuple[str, int]) -> None:
    name, port = served
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    rows = [line.split()[1] for line in listening.splitlines() if f":{port:04X} " in line and " 0A " in line]
    assert rows == [f"0100007F:{port:04X}"]
    shown = subprocess.run(["docker", "inspect", name], capture_output=True, text=True, check=True).stdout
    command = json.dumps([json.loads(shown)[0]["Args"], json.loads(shown)[0]["Config"]["Labels"]])
    assert "sesame" not in command
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "sesame" not in processes


def test_bench_measures_prefill_and_decode(image: str, data: Path, tmp_path: Path) -> None:
    csv = tmp_path / "out" / "bench.csv"
    argv = ("llm", "bench", "tiny", "--image", image, "--max-new-tokens", "16", "--input-tokens", "32")
    report = json.loads(run(*argv, "--json", "--save", str(csv), data=data).stdout)
    assert len(report["rows"]) == 3
    assert all(row["output_tokens"] == 16 and row["input_tokens"] > 16 for row in report["rows"])
    assert report["decode_tokens_per_s"] > 0
    assert report["prefill_tokens_per_s"] > 0
    assert len(csv.read_text().splitlines()) == 4


def test_a_server_whose_owner_was_killed_is_ended_by_the_next(image: str, data: Path) -> None:
    with subprocess.Popen(
        [COMMAND, "llm", "serve", "tiny", "--image", image], cwd=data.parent, env=environment(data),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        process.kill()
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    assert is_up(host, int(port))  # an orphan
    run("llm", "chat", "tiny", "--image", image, "-p", "Who are you?", data=data)
    assert not is_up(host, int(port))


def test_ctrl_c_ends_a_server_in_the_foreground(image: str, data: Path) -> None:
    with subprocess.Popen(
        [COMMAND, "llm", "serve", "tiny", "--image", image], cwd=data.parent, env=environment(data),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 0
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    assert not is_up(host, int(port))


def test_a_model_that_cannot_be_loaded_says_why(image: str, data: Path) -> None:
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


def test_list_and_rm_know_what_is_there(image: str, data: Path) -> None:
    run("llm", "quantize", "tiny", "--image", image, data=data)
    rows = json.loads(run("llm", "list", "--verify", "--json", data=data).stdout)
    mine = {(row["kind"], row["quantization"]): row for row in rows}
    assert mine[("artefact", "Q4_K_M")]["intact"] is True
    assert mine[("artefact", "Q4_K_M")]["size"] == (data / ARTEFACT).stat().st_size
    refused = run("llm", "rm", "tiny", data=data, code=2)
    assert "would be deleted" in refused.stderr
    run("llm", "rm", "tiny", "-y", data=data)
    assert not list((data / "models").rglob("*.gguf")) or [p.name for p in (data / "models").rglob("*.gguf")] == ["broken.gguf"]  # fmt: skip
