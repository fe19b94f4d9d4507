"""The Python binding loads the libraries of the image, and llama-server answers like OpenAI's interface.

Exit status 77: a part needs the GPU driver.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

NEEDS_GPU = 77


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    assert done.returncode == 0, (command, done.stdout)
    return done.stdout


def without_driver():
    return "libcuda.so.1 => not found" in run("ldd", "/usr/local/bin/llama-server")


def check_binding(model):
    try:
        import llama_cpp
    except ModuleNotFoundError:
        with open("/opt/llama.cpp/VERSION") as file:
            assert file.read().startswith("b"), "only versions named by a build number have no binding"
        print("no Python binding in this version")
        return
    print("llama_cpp", llama_cpp.__version__, "GPU offload:", llama_cpp.llama_supports_gpu_offload())
    llm = llama_cpp.Llama(model, n_ctx=256, n_gpu_layers=0, verbose=False)
    answer = llm.create_chat_completion([{"role": "user", "content": "Who are you?"}], max_tokens=48, temperature=0)
    text = answer["choices"][0]["message"]["content"]
    assert "tiny llama" in text, text
    print(text.strip())


def check_tokenizers(model):
    """Programs read either tokenizer.json or tokenizer.model: both must say the same."""
    print(run("/opt/llama.cpp/venv/bin/python", "-c", """
import sys, sentencepiece, transformers
fast = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
pieces = sentencepiece.SentencePieceProcessor(model_file=sys.argv[1] + "/tokenizer.model")
for text in ("What is a Jetson?", "<|user|> Who are you?<|assistant|> I", "  N\u00e4he\t\u6f22 "):
    ids = fast.encode(text, add_special_tokens=False)
    assert ids == pieces.encode(text), (text, ids, pieces.encode(text))
    assert fast.decode(ids) == text, fast.decode(ids)
print(len(fast), "tokens, the same in tokenizer.json and tokenizer.model")
""", model).strip())


def ask(address, path, body=None):
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def wait_until_ready(address, server):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            return ask(address, "/health")
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError("llama-server did not become ready; exit status %s" % server.poll())


def check_server(model):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = "http://127.0.0.1:%d" % port
    server = subprocess.Popen(
        ["llama-server", "-m", model, "-c", "256", "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_ready(address, server)
        answer = ask(address, "/v1/chat/completions", {
            "messages": [{"role": "user", "content": "What is a container?"}], "max_tokens": 48, "temperature": 0,
        })
        text = answer["choices"][0]["message"]["content"]
        assert "everything it needs" in text, text
        print("llama-server:", text.strip())
    finally:
        server.terminate()
        server.wait(timeout=20)


def main():
    if without_driver():
        print("needs a GPU: this build has CUDA in it, and there is no driver (libcuda.so.1) in this container")
        return NEEDS_GPU
    if not os.path.exists("/opt/llama.cpp/venv"):
        print("no converter on this Python, so no model to try: only that the binding imports")
        import llama_cpp

        return 0 if llama_cpp.__version__ else 1
    work = tempfile.mkdtemp()
    try:
        run("make-tiny-model", work + "/tiny")
        check_tokenizers(work + "/tiny")
        model = work + "/tiny.gguf"
        run("convert_hf_to_gguf.py", work + "/tiny", "--outfile", model, "--outtype", "f16")
        check_binding(model)
        check_server(model)
    finally:
        shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
