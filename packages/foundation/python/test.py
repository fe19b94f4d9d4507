"""One interpreter answers to every name, the modules people miss are there, and pip works and is clean."""

import ctypes
import os
import shutil
import sqlite3
import ssl
import subprocess
import sys
import sysconfig

print("python", sys.version.split()[0], sys.prefix, ssl.OPENSSL_VERSION, "sqlite", sqlite3.sqlite_version)
assert sys.prefix == "/opt/venv", sys.prefix
assert ctypes.CDLL(None) is not None

for name in ("python", "python3", "pip", "pip3"):
    found = shutil.which(name)
    assert found == "/opt/venv/bin/" + name, (name, found)

pip = subprocess.check_output([sys.executable, "-m", "pip", "--version"], universal_newlines=True)
assert "/opt/venv/" in pip, pip
print(pip.strip())

config = subprocess.check_output([sys.executable, "-m", "pip", "config", "list"], universal_newlines=True)
assert "index" not in config, "an index address stayed in the image: " + config
assert not [key for key in os.environ if key in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX")]
assert os.path.isfile("/etc/pip/constraints.txt")
assert not os.path.isdir(os.path.expanduser("~/.cache/pip"))
assert not os.path.isdir("/tmp/python")
print("site packages:", sysconfig.get_paths()["purelib"])
