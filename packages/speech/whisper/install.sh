#!/usr/bin/env bash
# Install Whisper, which is Python only, what it imports, and ffmpeg, which reads sound files for it. Needs WHISPER_VERSION.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)

if command -v ffmpeg > /dev/null; then
    echo "ffmpeg is in the image already"
else
    apt-get update
    apt-get install -y --no-install-recommends ffmpeg
    apt-get clean
    rm -rf /var/lib/apt/lists/*
fi

python3 -m pip install --no-deps --require-hashes -r "$here/whisper-$WHISPER_VERSION.lock"
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --no-cache-dir --no-deps --require-hashes -r "$here/build-tools.lock"
"$work/venv/bin/python" -m pip wheel --no-cache-dir --no-deps --no-build-isolation --no-binary openai-whisper --require-hashes \
    -w "$work/wheels" -r "$here/sdist-$WHISPER_VERSION.lock"
python3 -m pip install --no-deps --no-index "$work"/wheels/*.whl
rm -rf "$work"
