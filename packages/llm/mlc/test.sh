#!/usr/bin/env bash
# The command line of this version's interface answers. Exit status 77: the driver is needed to load TVM.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

cat /opt/mlc-llm/VERSION /opt/sources/mlc
# the wheel of TVM loads its CUDA part only where a driver is; what we compile is linked to it
if [ -d /opt/tvm ] && ! ldconfig -p | grep -q 'libcuda\.so\.1'; then
    python3 -c 'import importlib.util as u; assert u.find_spec("mlc_llm") and u.find_spec("tvm")'
    find /opt/venv -name 'libmlc_llm*.so' | grep .
    echo "needs a GPU: TVM has CUDA built in, and there is no driver (libcuda.so.1) in this container"
    exit 77
fi

if [[ $(cat /opt/mlc-llm/VERSION) == 0.1.* ]]; then
    python3 -m mlc_llm.build --help | grep -e --artifact-path
    python3 -c 'from mlc_chat import ChatModule; print(ChatModule)'
else
    mlc_llm --help | grep compile
    for command in convert_weight gen_config compile chat serve; do
        mlc_llm "$command" --help > /dev/null
    done
    python3 -c 'from mlc_llm import MLCEngine; print(MLCEngine)'
fi
