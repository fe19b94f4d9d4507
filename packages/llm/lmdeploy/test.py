"""LMDeploy imports and its engine was compiled. Exit status 77: the engine cannot be loaded without the GPU driver."""

import ctypes
import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

version = importlib.metadata.version("lmdeploy")
package = Path(importlib.util.find_spec("lmdeploy").origin).parent
engine = sorted(package.glob("lib/_turbomind*.so"))
print("lmdeploy", version, *[file.name for file in engine])
print(Path("/opt/sources/lmdeploy").read_text().strip())
assert engine, "no TurboMind engine in %s" % package

old = version.startswith("0.2.")


def commands():
    usage = subprocess.check_output(["lmdeploy", "--help"], universal_newlines=True)
    for command in ("lite", "chat", "serve", "convert" if old else "check_env"):
        assert command in usage, command


if not old:  # its command line and interface load no engine
    commands()
    options = subprocess.check_output(["lmdeploy", "serve", "api_server", "--help"], universal_newlines=True)
    for option in ("--session-len", "--cache-max-entry-count", "--model-format"):
        assert option in options, option
    from lmdeploy import TurbomindEngineConfig, pipeline

    assert callable(pipeline)
    assert TurbomindEngineConfig(session_len=4096).session_len == 4096
try:
    ctypes.CDLL("libcuda.so.1")
except OSError:
    print("needs a GPU: there is no driver (libcuda.so.1) in this container")
    sys.exit(77)

sys.path.insert(0, str(engine[0].parent))
import _turbomind  # noqa: E402,F401

if old:
    commands()
