# shellcheck shell=bash
# What changes the system: packages, the container engine, its daemon. Sourced by install.sh, quickstart.sh, test.sh.
# Needs $ROOT and scripts/python.sh. ASK=1 asks before each change; otherwise it is said and done.

ASK="${ASK:-0}"
APT_UPDATED=0

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

can_be_root() {
  [ "$(id -u)" = 0 ] && return 0
  command -v sudo >/dev/null 2>&1 || return 1
  # A password can only be typed at a terminal; elsewhere sudo must work without one.
  sudo -n true >/dev/null 2>&1 || { [ "$ASK" = 1 ] && [ -t 0 ]; }
}

agree() { # question; true when the change may be made
  local answer
  [ "$ASK" = 1 ] || return 0
  if [ ! -t 0 ]; then
    say "no terminal to ask on: $1 - not done (use -y)"
    return 1
  fi
  read -r -p "$1 [Y/n] " answer >&2 </dev/tty
  case "$answer" in "" | y | Y | yes) return 0 ;; *) return 1 ;; esac
}

apt_install() { # packages; says what it installs
  command -v apt-get >/dev/null 2>&1 || die "no apt-get here to install: $*" "install them with this system's package tool"
  can_be_root || die "installing $* needs root" "ask an administrator to run: sudo apt-get install -y --no-install-recommends $*"
  agree "Install with apt-get: $*?" || die "$* not installed" "sudo apt-get install -y --no-install-recommends $*"
  if [ "$APT_UPDATED" = 0 ]; then
    watched "+ apt-get update" as_root apt-get update -qq >&2 || say "warning: apt-get update failed; trying with the lists that are here"
    APT_UPDATED=1
  fi
  local log
  log=$(mktemp)
  if ! watched "+ apt-get install -y --no-install-recommends $*" logged "$log" as_root \
    env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "$@"; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    die "apt-get could not install: $*" "the lines above say why"
  fi
  rm -f "$log"
}

logged() { # file, command...; its output goes there
  local log="$1"
  shift
  "$@" >"$log" 2>&1 </dev/null
}

apt_missing() { # prints those of the packages that are not installed
  local package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || printf '%s ' "$package"
  done
}

need_apt() { # installs what is missing, says nothing when nothing is
  local missing
  missing=$(apt_missing "$@")
  # shellcheck disable=SC2086 # a list of package names
  [ -z "$missing" ] || apt_install $missing
}

python_lacks() { # prints the packages that bootstrap needs and cannot get by itself
  local python
  venv_is_current && return 0
  if ! command -v python3 >/dev/null 2>&1; then
    echo python3 python3-venv python3-pip
  elif python=$(find_python) && ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    if [ "$(readlink -f "$python")" = "$(readlink -f /usr/bin/python3 2>/dev/null)" ]; then echo python3-venv; fi
  elif ! find_python >/dev/null && ! python3 -m pip --version >/dev/null 2>&1; then
    echo python3-pip
  fi
}

# Without root, everything that needs it is said at once: an administrator is asked one time, not once per package.
preflight() {
  local lacks command=""
  can_be_root && return 0
  lacks=$(python_lacks)
  if [ "${NO_ENGINE:-0}" = 0 ] && ! docker_answers; then
    if ! command -v dockerd >/dev/null 2>&1; then
      lacks="$lacks docker.io"
    elif ! has_systemd; then
      command="dockerd &"
    else
      command="systemctl enable --now docker"
    fi
    in_docker_group || command="${command:+$command; }usermod -aG docker $(id -un)"
  fi
  lacks="${lacks# }"
  [ -z "$lacks" ] || command="apt-get install -y --no-install-recommends $lacks${command:+ && $command}"
  [ -z "$command" ] || die "this machine lacks ${lacks:-access to its container engine}, and changing that needs root" \
    "ask an administrator to run: sudo sh -c '$command'"
}

need_python() {
  local lacks
  lacks=$(python_lacks)
  # shellcheck disable=SC2086 # a list of package names
  [ -z "$lacks" ] || apt_install $lacks
}

docker_answers() { # any client on PATH, any way the environment points to an engine
  local client
  for client in $(type -aP docker | sort -u); do
    "$client" version --format '{{.Server.Version}}' >/dev/null 2>&1 && return 0
  done
  return 1
}

docker_refuses() { # an engine runs, and this user may not use it
  local client said
  for client in $(type -aP docker | sort -u); do
    said=$("$client" version --format '{{.Server.Version}}' 2>&1) && continue
    case "${said,,}" in *"permission denied"*) return 0 ;; esac
  done
  return 1
}

docker_answers_root() {
  local client
  can_be_root || return 1
  for client in $(type -aP docker | sort -u); do
    as_root "$client" version --format '{{.Server.Version}}' >/dev/null 2>&1 && return 0
  done
  return 1
}

has_systemd() { [ -d /run/systemd/system ]; }

# A daemon that was killed leaves its process ID behind; when another process has that number by now, dockerd takes it for
# itself and does not start.
drop_stale_pid() { # file, name of the program
  local pid
  pid=$(as_root cat "$1" 2>/dev/null) || return 0
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] || as_root rm -f "$1"
}

start_dockerd() {
  local log=/var/log/dockerd.log waited=0
  if has_systemd; then
    say "+ systemctl enable --now docker"
    as_root systemctl enable --now docker >&2 || return 1
  else
    # No init system (containers, WSL, minimal machines): the daemon in a session of its own outlives this shell.
    say "+ dockerd &   (no systemd here; its log is $log)"
    drop_stale_pid /var/run/docker.pid dockerd
    drop_stale_pid /var/run/docker/containerd/containerd.pid containerd
    as_root sh -c "setsid dockerd >>$log 2>&1 </dev/null &"
  fi
  until docker_answers || docker_answers_root; do
    waited=$((waited + 1))
    if [ "$waited" -ge 60 ]; then
      say "dockerd did not answer within 60 s; the end of its log:"
      as_root tail -n 15 "$log" >&2 2>/dev/null || true
      return 1
    fi
    sleep 1
  done
}

in_docker_group() { id -nG | tr ' ' '\n' | grep -qx docker; }

need_engine() { # installs docker.io when there is none, starts it when it does not answer
  if docker_answers || docker_answers_root; then return 0; fi
  if ! command -v dockerd >/dev/null 2>&1; then
    if [ "${NO_ENGINE:-0}" = 1 ]; then return 1; fi
    can_be_root || die "no container engine answers here, and installing one needs root" \
      "ask an administrator to run: sudo apt-get install -y docker.io && sudo usermod -aG docker $(id -un)"
    apt_install docker.io iptables ca-certificates
  fi
  can_be_root || die "dockerd is installed but does not run, and starting it needs root" \
    "ask an administrator to run: sudo systemctl enable --now docker"
  start_dockerd || die "the container engine does not start" "see /var/log/dockerd.log, or: journalctl -u docker"
  if [ "$(id -u)" != 0 ] && ! in_docker_group; then
    if agree "Add $(id -un) to the docker group (members can become root)?"; then
      say "+ usermod -aG docker $(id -un)   (takes effect at the next login; until then sudo is used)"
      as_root usermod -aG docker "$(id -un)" >&2
    fi
  fi
}
