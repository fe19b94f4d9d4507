#!/usr/bin/env bash
# Install the wheel that the artifact part compiled, and libsndfile, which reads and writes sound files.
# Needs TORCHAUDIO_VERSION and TORCHAUDIO_PYTHON (which lock: py36, also for Python 3.8, or py310).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

apt-get update
apt-get install -y --no-install-recommends libsndfile1
apt-get clean
rm -rf /var/lib/apt/lists/*

python3 -m pip install --no-deps --require-hashes -r "$here/run-$TORCHAUDIO_PYTHON.lock"
python3 -m pip install --no-deps --no-index /opt/torchaudio/torchaudio-*.whl
installed=$(python3 -m pip show torchaudio | sed -n 's/^Version: //p')
[[ $installed == "$TORCHAUDIO_VERSION"* ]]
echo "torchaudio==$installed" >> /etc/pip/constraints.txt
