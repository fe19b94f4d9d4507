#!/usr/bin/env bash
# The main job on this machine, whatever it is: set up, build or find an image, quantize a model, chat once.
# Prints each public command it runs. A second run takes seconds: nothing that is done is done again.
set -euo pipefail
ROOT="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)"
# shellcheck source=scripts/python.sh
. "$ROOT/scripts/python.sh"
# shellcheck source=scripts/system.sh
. "$ROOT/scripts/system.sh"

usage() {
  cat <<'HELP'
usage: ./quickstart.sh [--model MODEL] [--prompt TEXT] [--no-engine]

  --model MODEL   a model of the hub (org/name); default: `tiny`, made on the spot without network
  --prompt TEXT   what to ask
  --no-engine     do not install or start a container engine; one must be there
HELP
}

value_of() { # option, what follows it; prints the value
  [ $# -gt 1 ] && [ -n "$2" ] && { printf '%s\n' "$2"; return 0; }
  usage >&2
  say "error: $1 needs a value"
  return 2
}

MODEL=tiny PROMPT="What is a Jetson?" NO_ENGINE="${NO_ENGINE:-0}" ASK=0
while [ $# -gt 0 ]; do
  case "$1" in
    --model) MODEL=$(value_of "$@") || exit 2; shift ;;
    --prompt) PROMPT=$(value_of "$@") || exit 2; shift ;;
    --no-engine) NO_ENGINE=1 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; say "error: unknown option: $1"; exit 2 ;;
  esac
  shift
done

announce() { # prints a public command as it can be pasted
  local shown="" word
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:,=@+-]+$ ]] || word=${word@Q}
    shown="$shown $word"
  done
  say ""
  say "\$$shown"
}

step() { # the same, then runs it and says how long it took
  local began=$SECONDS
  announce "$@"
  "$@"
  say "  took $(since "$began")"
}

cd "$ROOT"
say "This sets up jetson-containers in $ROOT. It may install with apt-get: a container engine (docker.io), Python's venv"
say "module, and mmdebstrap where no container registry answers; and it starts dockerd when that does not run."
say "The first run took 9 and 30 minutes on two PCs with 2 cores, most of it compiling llama.cpp; the next one takes seconds."
if [ "$NO_ENGINE" = 1 ] && ! docker_answers; then
  docker_refuses && die "a container engine runs here, and $(id -un) may not use it" \
    "sudo usermod -aG docker $(id -un) && newgrp docker"
  die "no container engine answers, and --no-engine keeps this from installing one" \
    "ask an administrator to run: sudo apt-get install -y docker.io && sudo usermod -aG docker $(id -un)"
fi
preflight
need_python
bootstrap
[ "$NO_ENGINE" = 1 ] || need_engine

export JETSON_CONTAINERS_ALLOW_INSTALL=1
step ./build.sh llama_cpp
announce ./autotag --disable registry,build llama_cpp
IMAGE=$(./autotag --disable registry,build llama_cpp)
say "$IMAGE"
step ./run.sh "$IMAGE" llama-cli --version
step ./jetson-containers llm chat "$MODEL" --image "$IMAGE" --quantization Q4_K_M --prompt "$PROMPT" </dev/null
say ""
say "Done in $(since 0). Go on with:  ./jetson-containers llm chat $MODEL   (a conversation; /exit ends it)"
[ "$(readlink -f "$(command -v jetson-containers)")" = "$ROOT/jetson-containers" ] ||
  say "The documents say jetson-containers without ./ in front; ./install.sh makes that work everywhere."
