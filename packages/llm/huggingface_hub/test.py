"""The client imports, its command line runs, and the downloader does what it says against a hub on loopback."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = bytes(range(256)) * 20000
FILES = {"config.json": b'{"model_type": "llama"}', "model.safetensors": WEIGHTS, "tokenizer.json": b"{}"}
REPO = "tests/tiny"
RANGES = []  # what was asked for of the weights
FREE = threading.Event()  # while it is not set, the weights stop in their middle
FREE.set()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as a download needs: one public, one gated and one lying repository."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except ConnectionError:  # a client that was killed
            pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0]
        token = self.headers.get("Authorization", "")
        if token not in ("", "Bearer good", "Bearer stranger"):
            return self.answer(401, X_Error_Message="Invalid credentials in Authorization header")
        name = next((n for n in ("tests/gated", "tests/lying") if n in path), REPO)
        if path in ("/api/models/" + name, "/api/models/%s/revision/main" % name, "/api/models/%s/revision/%s" % (name, COMMIT)):
            return self.describe(name)
        if path.startswith("/api/models/%s/revision/" % name):
            return self.answer(404, X_Error_Code="RevisionNotFound")
        if path.startswith("/%s/resolve/" % name):
            if name == "tests/gated" and token != "Bearer good":
                return self.answer(401 if not token else 403, X_Error_Code="GatedRepo", X_Error_Message="gated")
            return self.resolve(name, path.rsplit("/", 1)[1])
        return self.answer(404, X_Error_Code="RepoNotFound")

    def describe(self, name):
        siblings = []
        for file, body in sorted(FILES.items()):
            siblings.append({"rfilename": file, "size": len(body), "blobId": git_sha1(body)})
            if file.endswith(".safetensors"):
                siblings[-1]["lfs"] = {"sha256": sha256(body), "size": len(body), "pointerSize": 130}
        info = {"id": name, "sha": COMMIT, "private": False, "gated": "auto" if name == "tests/gated" else False}
        body = json.dumps({**info, "tags": [], "siblings": siblings}).encode()
        self.answer(200, body, Content_Type="application/json")

    def resolve(self, name, file):
        if file not in FILES:
            return self.answer(404, X_Error_Code="EntryNotFound")
        body = FILES[file] if name != "tests/lying" else FILES[file][:-1] + b"?"
        if file != "model.safetensors":
            return self.answer(200, body, X_Repo_Commit=COMMIT)
        asked = self.headers.get("Range", "")
        RANGES.append(asked)
        start = int(asked[len("bytes="):].split("-")[0]) if asked else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (start, len(body) - 1, len(body)))
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        for begin in range(start, len(body), 65536):
            self.wfile.write(body[begin:begin + 65536])
            if begin > len(body) // 2:
                FREE.wait(60)


def clean(environment):
    kept = {key: value for key, value in os.environ.items() if "TOKEN" not in key and "PROXY" not in key.upper()}
    return {**kept, **environment}


def run(*arguments, status=0, **environment):
    """Run the downloader; returns (stdout, stderr)."""
    done = subprocess.run(
        ["huggingface-downloader", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True, env=clean(environment), timeout=60,
    )
    assert done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout, done.stderr


def check_downloads(environment, work):
    both, _ = run(REPO, REPO + "/config.json", **environment)
    directory, file = both.splitlines()
    assert Path(file).read_bytes() == FILES["config.json"]
    assert sorted(path.name for path in Path(directory).iterdir()) == sorted(FILES)

    some, _ = run(REPO, "--skip-safetensors", "--allow-patterns", "*.json,*.safetensors", "--cache-dir", str(work / "other"), **environment)
    assert sorted(path.name for path in Path(some.strip()).iterdir()) == ["config.json", "tokenizer.json"]

    listing = work / "locations"
    out, _ = run(REPO, str(work), "--location-file", str(listing), **environment)
    assert listing.read_text() == out
    assert out.splitlines()[1] == str(work)

    pinned, _ = run("%s@%s/tokenizer.json" % (REPO, COMMIT), **environment)
    assert Path(pinned.strip()).read_bytes() == b"{}"
    offline, _ = run(REPO, **{**environment, "HF_HUB_OFFLINE": "1"})
    assert offline.strip() == directory
    assert huggingface_hub.snapshot_download(REPO, cache_dir=environment["HF_HUB_CACHE"], local_files_only=True) == directory

    planned, _ = run(REPO, "--dry-run", "--exclude", "tokenizer.json", **environment)
    assert "cached   model.safetensors" in planned and "tokenizer" not in planned, planned
    listed = json.loads(run(REPO + "@main", "--json", **environment)[0])
    assert listed[0]["commit"] == COMMIT and listed[0]["files"][1]["sha256"] == sha256(WEIGHTS), listed

    blob = Path(directory, "model.safetensors").resolve()
    blob.write_bytes(WEIGHTS[:-1] + b"?")
    _, err = run(REPO, "--verify", **environment)
    assert "damaged" in err and blob.read_bytes() == WEIGHTS, err


def check_resume(environment, work):
    """Killed in the middle of a file, the next run asks for the rest only."""
    environment = {**environment, "HF_HUB_CACHE": str(work / "killed")}
    FREE.clear()
    name = REPO + "/model.safetensors"
    child = subprocess.Popen(["huggingface-downloader", name], env=clean(environment), stderr=subprocess.DEVNULL)
    parts = []
    while not parts or parts[0].stat().st_size < len(WEIGHTS) // 2:
        time.sleep(0.02)
        parts = list((work / "killed").glob("*/blobs/*.incomplete"))
        assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    FREE.set()
    part = parts[0]
    kept = part.stat().st_size
    RANGES.clear()
    assert Path(run(name, **environment)[0].strip()).read_bytes() == WEIGHTS
    assert RANGES == ["bytes=%d-" % kept], (RANGES, kept)


def check_owner(environment, work):
    """Root leaves nothing that the owner of the directory cannot delete, where it may give files away at all."""
    data = work / "data"
    data.mkdir()
    try:
        os.chown(str(data), 1234, 1234)
    except PermissionError:
        print("owners are not tried: this container may not give files away")
        return
    run(REPO, **{**environment, "HF_HUB_CACHE": str(data / "models")})
    assert {path.lstat().st_uid for path in data.rglob("*")} == {1234}


def check_failures(environment):
    for arguments, status, words in [
        (["tests/absent"], 3, "no model `tests/absent`"),
        ([REPO + "@no-such-branch"], 3, "revision"),
        ([REPO + "/absent.bin"], 3, "no such file"),
        ([REPO, "--allow-patterns", "*.gguf"], 3, "no file of"),
        (["not a name"], 2, "invalid repository name"),
        (["tests/gated"], 4, "no token was given"),
        (["tests/lying", "--skip-safetensors"], 1, "wrong git's sha1"),
    ]:
        out, err = run(*arguments, status=status, **environment)
        assert out == "", out
        assert words in err, (words, err)
    _, err = run("tests/gated", status=4, **{**environment, "HF_TOKEN": "hf_secret"})
    assert "refuses the token of HF_TOKEN" in err and "hf_secret" not in err, err
    _, err = run("tests/gated", status=4, **{**environment, "HF_TOKEN": "stranger"})
    assert "the account of HF_TOKEN has no access" in err, err
    out, _ = run("tests/gated/config.json", **{**environment, "HUGGINGFACE_TOKEN": "good"})
    assert out.strip().endswith("config.json")
    assert not [path for path in Path(environment["HF_HOME"]).rglob("*token*") if path.name == "token"], "token stored"
    _, err = run("tests/elsewhere", status=4, **{**environment, "HF_HUB_OFFLINE": "1"})
    assert "not in the cache" in err or "cannot be reached" in err, err


def main():
    print("huggingface_hub", huggingface_hub.__version__)
    subprocess.run(["hf", "version"], check=True)
    assert "--skip-safetensors" in run("--help")[0]
    run(status=2)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        environment = {
            "HF_ENDPOINT": "http://127.0.0.1:%d" % server.server_port,
            "HF_HOME": name + "/home", "HF_HUB_CACHE": name + "/hub", "HF_HUB_DISABLE_XET": "1",
        }
        check_downloads(environment, work)
        check_failures(environment)
        check_resume(environment, work)
        check_owner(environment, work)
    server.shutdown()
    print("downloads, patterns, revisions, offline use, resuming and failures behave as documented")


if __name__ == "__main__":
    sys.exit(main())
