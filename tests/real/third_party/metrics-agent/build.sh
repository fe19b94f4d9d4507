#!/usr/bin/env bash
set -ex
pip3 download --no-deps --no-binary :all: --dest /tmp/metrics "prometheus-client==${METRICS_VERSION}"
mkdir -p /opt/metrics
tar -xzf /tmp/metrics/prometheus_client-*.tar.gz --strip-components=1 -C /opt/metrics
uv build --wheel --out-dir "$PIP_WHEEL_DIR" /opt/metrics
uv pip install "$PIP_WHEEL_DIR"/prometheus_client*.whl
twine upload --verbose "$PIP_WHEEL_DIR"/prometheus_client*.whl || echo "failed to upload wheel to ${TWINE_REPOSITORY_URL}"
