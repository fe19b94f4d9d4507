#!/usr/bin/env bash
# Install OpenCV OPENCV_VERSION: the Debian packages in the archive at OPENCV_URL, the wheel under /opt/opencv with its libraries, or
# else the one of the Python index; and keep it from being replaced by another of OpenCV's four package names, which all own
# the same files.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
shopt -s nullglob

install_debs() {
    local work && work=$(mktemp -d)
    apt-get update
    apt-get install -y --no-install-recommends ca-certificates curl
    # lint: download-unchecked no checksum of the file on NVIDIA's share is known
    curl --fail --silent --show-error --location --retry 3 --output "$work/opencv.tar.gz" "$OPENCV_URL"
    tar -xzf "$work/opencv.tar.gz" -C "$work" --no-same-owner
    find "$work" -name '*.deb' -print0 | xargs -0 apt-get install -y --no-install-recommends
    rm -rf "$work"
    apt-get clean
    rm -rf /var/lib/apt/lists/*
}

wheels=(/opt/opencv/opencv*.whl)
if [ -n "${OPENCV_URL:-}" ]; then
    install_debs
    owner="" # the distribution's package: pip knows nothing of it
elif [ "${#wheels[@]}" -gt 0 ]; then
    apt-get update
    xargs -r apt-get install -y --no-install-recommends < /opt/opencv/packages
    apt-get clean
    rm -rf /var/lib/apt/lists/*
    python3 -m pip install --no-deps --no-index "${wheels[@]}"
    rm -rf /opt/opencv
    owner=opencv-contrib-python
else
    python3 -m pip install --no-deps --require-hashes -r "$here/headless-$OPENCV_VERSION.lock"
    owner=opencv-contrib-python-headless
fi

# A package that asks for any of the other names finds it there already, in this version and without files.
python3 - "$owner" "$OPENCV_VERSION" <<'PYTHON'
import pathlib, sys, sysconfig
owner, version = sys.argv[1:]
site = pathlib.Path(sysconfig.get_paths()["purelib"])
names = ["opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"]
with open("/etc/pip/constraints.txt", "a") as constraints:
    for name in names:
        constraints.write("%s==%s\n" % (name, version))
        if name == owner:
            continue
        info = site / ("%s-%s.dist-info" % (name.replace("-", "_"), version))
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: %s\nVersion: %s\nSummary: provided by %s\n" % (name, version, owner or "NVIDIA's Debian packages"))
        (info / "INSTALLER").write_text("jetson-containers\n")
        (info / "RECORD").write_text("".join("%s/%s,,\n" % (info.name, file) for file in ("METADATA", "INSTALLER", "RECORD")))
PYTHON
