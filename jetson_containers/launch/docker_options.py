"""Reading a `docker run` command line: where the options end, which is IMAGE, what is COMMAND.

Docker parses with spf13/pflag, interspersed options off: the first word that is neither an option nor an option's
value is IMAGE, and everything after it belongs to the container. To find it one has to know which options take a
value; that is the table below (docker/cli `cli/command/container/opts.go` and `run.go`, 20.10 to 28).
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jetson_containers.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FLAGS = """
    detach disable-content-trust help init interactive no-healthcheck oom-kill-disable privileged publish-all quiet
    read-only rm sig-proxy tty use-api-socket
"""
_VALUED = """
    add-host annotation attach blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns cidfile
    cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus cpuset-cpus cpuset-mems
    detach-keys device device-cgroup-rule device-read-bps device-read-iops device-write-bps device-write-iops dns
    dns-opt dns-option dns-search domainname entrypoint env env-file expose gpus group-add health-cmd health-interval
    health-retries health-start-interval health-start-period health-timeout hostname io-maxbandwidth io-maxiops ip
    ip6 ipc isolation kernel-memory label label-file link link-local-ip log-driver log-opt mac-address memory
    memory-reservation memory-swap memory-swappiness mount name net net-alias network network-alias oom-score-adj
    pid pids-limit platform publish pull restart runtime security-opt shm-size stop-signal stop-timeout storage-opt
    sysctl tmpfs ulimit user userns uts volume volume-driver volumes-from workdir
"""

FLAGS = frozenset(_FLAGS.split())
"""Options without a value (`--rm`, `--rm=false`)."""

VALUED = frozenset(_VALUED.split())
"""Options with a value (`--name x`, `--name=x`)."""

SHORT = {
    "a": "attach",
    "c": "cpu-shares",
    "d": "detach",
    "e": "env",
    "h": "hostname",
    "i": "interactive",
    "l": "label",
    "m": "memory",
    "p": "publish",
    "P": "publish-all",
    "q": "quiet",
    "t": "tty",
    "u": "user",
    "v": "volume",
    "w": "workdir",
}
_ALIASES = {"net": "network", "net-alias": "network-alias", "dns-opt": "dns-option"}
_FALSE = frozenset({"0", "f", "F", "false", "False", "FALSE"})  # Go's strconv.ParseBool


@dataclass(frozen=True, kw_only=True)
class DockerOption:
    """One option. `name` is its long name; `value` is None for a flag without `=`; `known`: it is in our tables."""

    name: str
    value: str | None = None
    known: bool = True


@dataclass(frozen=True)
class Group:
    """The words that belong together, as the user wrote them: `-it`, `--name x`, `-e A=1`, `-itv /a:/b`."""

    words: tuple[str, ...]
    options: tuple[DockerOption, ...]

    def with_value(self, value: str) -> Group:
        """The same spelling with another value for its last option (the only one of a cluster that can have one)."""
        old = self.options[-1].value
        if not old or not self.words[-1].endswith(old):
            raise ValueError(f"{self.words} has no value to replace")
        words = (*self.words[:-1], self.words[-1].removesuffix(old) + value)
        return Group(words, (*self.options[:-1], replace(self.options[-1], value=value)))


@dataclass(frozen=True, kw_only=True)
class RunLine:
    """A parsed line: option groups in the user's order, IMAGE (None: there is none), COMMAND and its arguments."""

    groups: tuple[Group, ...] = ()
    image: str | None = None
    command: tuple[str, ...] = ()

    @property
    def options(self) -> Iterator[DockerOption]:
        """Every option, in order."""
        return (option for group in self.groups for option in group.options)

    @property
    def words(self) -> tuple[str, ...]:
        """The option words, as written."""
        return tuple(word for group in self.groups for word in group.words)

    def values(self, name: str) -> list[str]:
        """All values of an option, in order."""
        return [option.value for option in self.options if option.name == name and option.value is not None]

    def last(self, name: str) -> str | None:
        """The value that counts where an option may be given only once."""
        values = self.values(name)
        return values[-1] if values else None

    def has(self, *names: str) -> bool:
        """Whether one of the options is given at all, be it as `--rm=false`."""
        return any(option.name in names for option in self.options)

    def is_on(self, flag: str) -> bool:
        """Whether a flag is given and not switched off again."""
        states = [option.value not in _FALSE for option in self.options if option.name == flag]
        return bool(states) and states[-1]

    @property
    def env_names(self) -> frozenset[str]:
        """Names of the variables set or passed with `-e`."""
        return frozenset(value.partition("=")[0] for value in self.values("env"))

    @property
    def mount_targets(self) -> frozenset[str]:
        """Container paths that the user's own mounts occupy."""
        found = [_volume_target(value) for value in self.values("volume")]
        found += [target for value in self.values("mount") if (target := _mount_target(value))]
        found += [value.partition(":")[0] for value in self.values("tmpfs")]
        return frozenset(posixpath.normpath(target) for target in found if target)

    @property
    def devices(self) -> frozenset[str]:
        """Host paths or CDI names given with `--device`."""
        return frozenset(value.partition(":")[0] for value in self.values("device"))


def parse(args: Sequence[str], own: Mapping[str, bool] | None = None) -> RunLine:
    """Split a line into option groups, IMAGE and COMMAND, as docker would.

    `own` are further long options: name → whether it takes a value. After `--` only docker's options are known.
    Raises UsageError for an option whose value is missing.
    """
    table = {**dict.fromkeys(FLAGS, False), **dict.fromkeys(VALUED, True), **(own or {})}
    groups: list[Group] = []
    rest = tuple(args)
    while rest:
        word = rest[0]
        if word == "--":
            table = {name: valued for name, valued in table.items() if name not in (own or {})}
            rest = rest[1:]
            continue
        if len(word) < 2 or not word.startswith("-"):
            break
        group = _long(rest, table) if word.startswith("--") else _cluster(rest)
        groups.append(group)
        rest = rest[len(group.words) :]
    return RunLine(groups=tuple(groups), image=rest[0] if rest else None, command=rest[1:])


def _long(rest: Sequence[str], table: Mapping[str, bool]) -> Group:
    name, equals, value = rest[0][2:].partition("=")
    canonical = _ALIASES.get(name, name)
    known = name in table
    if equals:
        return Group((rest[0],), (DockerOption(name=canonical, value=value, known=known),))
    if not (table[name] if known else _guess_valued(rest)):
        return Group((rest[0],), (DockerOption(name=canonical, value=None, known=known),))
    return _with_next_word(rest, (), DockerOption(name=canonical, value=None, known=known))


def _cluster(rest: Sequence[str]) -> Group:
    """Read `-it`, `-eA=1`, `-e=A=1`, `-itv /a:/b`: flags first, at most one option with a value at the end."""
    before: list[DockerOption] = []
    letters = rest[0][1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        name = SHORT.get(letter)
        option = DockerOption(name=name or letter, value=None, known=name is not None)
        if len(letters) > 1 and letters.startswith("="):
            return Group((rest[0],), (*before, replace(option, value=letters[1:])))
        if name in FLAGS:
            before.append(option)
        elif letters:
            return Group((rest[0],), (*before, replace(option, value=letters)))
        elif name is not None or _guess_valued(rest):
            return _with_next_word(rest, before, option)
        else:
            before.append(option)
    return Group((rest[0],), tuple(before))


def _with_next_word(rest: Sequence[str], before: Sequence[DockerOption], option: DockerOption) -> Group:
    if len(rest) < 2:
        raise UsageError(f"`{rest[0]}` needs a value", hint="docker run --help")
    return Group((rest[0], rest[1]), (*before, replace(option, value=rest[1])))


def _guess_valued(rest: Sequence[str]) -> bool:
    """Whether an option unknown to us has a value: most of docker's have, and an image has to be left after it."""
    return len(rest) > 2 and not rest[1].startswith("-")


def _volume_target(value: str) -> str:
    source, _, rest = value.partition(":")
    return rest.partition(":")[0] if rest else source


def _mount_target(value: str) -> str | None:
    import csv

    for field in next(csv.reader([value]), []):
        key, _, target = field.partition("=")
        if key.strip().lower() in {"target", "destination", "dst"}:
            return target
    return None
