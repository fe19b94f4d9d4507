#!/usr/bin/env bash
set -ex
if [ "$FORCE_BUILD" == "on" ]; then
    exit 1
fi
uv pip install "prometheus-client==${METRICS_VERSION}"
