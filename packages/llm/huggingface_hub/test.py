"""The client imports, its command line runs, and the downloader does what it says against a hub on loopback."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"\x00" * 4096, "tokenizer.json": b"{}"}
REPO = "tests/tiny"


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as a download needs: one public and one gated repository."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
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
        if "tests/gated" in path and token != "Bearer good":
            return self.answer(401 if not token else 403, X_Error_Code="GatedRepo", X_Error_Message="gated")
        name = "tests/gated" if "tests/gated" in path else REPO
        if path in ("/api/models/" + name, "/api/models/%s/revision/main" % name):
            return self.describe(name)
        if path.startswith("/api/models/%s/revision/" % name) and path.endswith(COMMIT):
            return self.describe(name)
        if path.startswith("/api/models/%s/revision/" % name):
            return self.answer(404, X_Error_Code="RevisionNotFound")
        if path.startswith("/api/models/%s/tree/" % name):
            return self.json([self.entry(file) for file in sorted(FILES)])
        if path.startswith("/%s/resolve/" % name):
            return self.resolve(path.rsplit("/", 1)[1])
        return self.answer(404, X_Error_Code="RepoNotFound")

    def json(self, value):
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def describe(self, name):
        siblings = [{"rfilename": file, "size": len(body)} for file, body in sorted(FILES.items())]
        self.json({"id": name, "modelId": name, "sha": COMMIT, "private": False, "tags": [], "siblings": siblings})

    def entry(self, file):
        return {"type": "file", "path": file, "size": len(FILES[file]), "oid": hashlib.sha1(FILES[file]).hexdigest()}

    def resolve(self, file):
        if file not in FILES:
            return self.answer(404, X_Error_Code="EntryNotFound")
        etag = '"%s"' % hashlib.sha1(FILES[file]).hexdigest()
        return self.answer(200, FILES[file], X_Repo_Commit=COMMIT, ETag=etag, Accept_Ranges="bytes")


def run(*arguments, status=0, **environment):
    """Run the downloader; returns (stdout, stderr)."""
    clean = {key: value for key, value in os.environ.items() if "TOKEN" not in key and "PROXY" not in key.upper()}
    done = subprocess.run(
        ["huggingface-downloader", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True, env={**clean, **environment}, timeout=60,
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


def check_failures(environment):
    for arguments, status, words in [
        (["tests/absent"], 3, "no repository"),
        ([REPO + "@no-such-branch"], 3, "revision"),
        ([REPO + "/absent.bin"], 3, "no such file"),
        ([REPO, "--allow-patterns", "*.gguf"], 3, "no file of"),
        (["not a name"], 2, "no repository name"),
        (["tests/gated"], 4, "no token was given"),
    ]:
        out, err = run(*arguments, status=status, **environment)
        assert out == "", out
        assert words in err, (words, err)
    _, err = run("tests/gated", status=4, **{**environment, "HF_TOKEN": "wrong"})
    assert "HF_TOKEN" in err and "wrong" not in err, err
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
    server.shutdown()
    print("downloads, patterns, revisions, offline use and", 8, "failures behave as documented")


if __name__ == "__main__":
    sys.exit(main())
