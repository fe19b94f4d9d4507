"""The server starts, refuses a visitor without the token, lets one with it in, and a kernel computes."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

TOKEN = "a-token-of-this-test"


def get(port, path, token=None):
    headers = {"Authorization": "token " + token} if token else {}
    request = urllib.request.Request("http://127.0.0.1:%d%s" % (port, path), headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        return json.loads(answer.read())


def wait_for(port, server):
    for _ in range(300):
        assert server.poll() is None, "the server ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the server did not start within 30 s")


def check_server(work):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = dict(os.environ, JUPYTER_TOKEN=TOKEN, JUPYTER_PORT=str(port), HOME=work)
    with open(os.path.join(work, "log"), "w") as log:
        server = subprocess.Popen(["jupyter-start"], cwd=work, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(port, server)
        assert get(port, "/api/status", TOKEN)["kernels"] == 0
        for wrong in (None, "wrong"):
            try:
                get(port, "/api/contents", wrong)
            except urllib.error.HTTPError as error:
                assert error.code == 403, error.code
            else:
                raise AssertionError("the server let a visitor in with the token %r" % wrong)
    except Exception:
        sys.stderr.write(open(os.path.join(work, "log")).read())
        raise
    finally:
        server.terminate()
        server.wait(timeout=30)


def check_kernel(work):
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": None, "source": "print(6 * 7)"}
    path = os.path.join(work, "test.ipynb")
    with open(path, "w") as file:
        json.dump({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, file)
    subprocess.run(
        ["jupyter", "nbconvert", "--to", "notebook", "--execute", "--inplace", path],
        check=True, env=dict(os.environ, HOME=work), timeout=120,
    )
    with open(path) as file:
        assert json.load(file)["cells"][0]["outputs"][0]["text"] == ["42\n"]


def main():
    subprocess.run(["jupyter", "lab", "--version"], check=True)
    with tempfile.TemporaryDirectory() as work:
        check_server(work)
        check_kernel(work)
    print("the server asks for its token, and a notebook computes")


if __name__ == "__main__":
    sys.exit(main())
