"""The command tree and the only place that prints errors and exits."""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import os
import sys
from typing import IO, Any

import click

from jetson_containers import __version__
from jetson_containers.cli.abbreviations import AbbreviatingGroup
from jetson_containers.cli.app import App, global_options
from jetson_containers.core.console import Console
from jetson_containers.core.errors import (
    DISK_FULL,
    DiskSpaceError,
    InterruptedByUserError,
    JetsonError,
    ReaderGoneError,
    ToldError,
    UsageError,
    command,
)
from jetson_containers.core.text import without_passwords

# Command → "module:function"; a module is imported only when its command runs, so that autotag starts fast.
COMMANDS: dict[str, tuple[str, str]] = {
    "autotag": ("autotag:autotag", "Find (or build) an image with all the packages; prints one reference."),
    "build": ("build:build", "Build one image with all the packages."),
    "bundle": ("bundle:bundle", "Write everything an image needs to one file, or load one."),
    "completion": ("shell:completion", "Print the completion script of a shell."),
    "config": ("config:config", "Show and change settings."),
    "context": ("context:context", "Write the build context of a package, for a plain docker build."),
    "data": ("checkout:data", "Print the directory that containers see as /data."),
    "df": ("images:df", "Show what uses disk space."),
    "doctor": ("doctor:doctor", "Check this machine and suggest fixes."),
    "download": ("download:download", "Download models into data/models/huggingface."),
    "export": ("export:export", "Write plans as a CI pipeline, or as a folder for docker buildx bake."),
    "farm": ("farm:farm", "Build on several machines: scheduler, worker, status."),
    "flatten": ("images:flatten", "Make an image of one layer of an image of many."),
    "graph": ("export:draw", "Draw the stages of a plan."),
    "images": ("images:images", "List the images this tool made."),
    "info": ("info:info", "Show the effective platform and where every value came from."),
    "keys": ("keys:keys", "Make a key that signs images."),
    "lint": ("lint:lint", "Check recipes."),
    "list": ("catalog:list_packages", "List the packages for the platform."),
    "llm": ("llm:llm", "Quantize a language model and chat with it."),
    "login": ("login:login", "Log in to a registry: docker's own login."),
    "logout": ("login:logout", "Remove the login of a registry."),
    "man": ("shell:man", "Write the manual pages."),
    "new": ("new:new", "Make a package of your own."),
    "mirror": ("mirror:mirror", "Fill a folder with what builds fetch, and serve it."),
    "outdated": ("outdated:outdated", "List pins behind upstream, and known vulnerabilities."),
    "prune": ("images:prune", "Remove stage images; final images and compiled artifacts stay."),
    "lock": ("lock:lock", "Write down what an image is made of, for build --locked."),
    "lock-pips": ("lock_pips:lock_pips", "Regenerate the pip locks of recipes."),
    "provenance": ("sbom:provenance", "Write how an image was made: in-toto statement, SLSA v1."),
    "pull": ("images:pull", "Pull an image, or the image of a package that runs here."),
    "push": ("images:push", "Push an image."),
    "registry": ("registry:registry", "Update the list of images that is used offline."),
    "report": ("report:report", "Make a page of a build: timeline, caches, sizes, tests, logs, changes."),
    "root": ("checkout:root", "Print the directory of this checkout."),
    "run": ("run:run", "Run a container with the board's GPU and devices."),
    "sbom": ("sbom:sbom", "Write what is installed in an image: CycloneDX."),
    "schema": ("schema:schema", "Print the JSON Schema of what a command prints with --json."),
    "search": ("catalog:search", "Search names, groups and docs of the packages."),
    "setup": ("setup:setup", "Prepare this machine: runtime, swap, disks, power; can be undone."),
    "show": ("catalog:show", "Show one package."),
    "site": ("site:site", "Make pages of the catalogue: packages, platforms, tags, models and boards."),
    "stats": ("stats:stats", "Show loads, memory, temperatures and power, and what our containers use."),
    "test": ("test:test", "Run the tests of packages again, or check an image without a GPU."),
    "tree": ("catalog:tree", "Show what packages depend on."),
    "update": ("checkout:update", "Update this checkout."),
    "verify": ("verify:verify", "Run the tests that a build elsewhere has deferred, on the board."),
    "why": ("catalog:why", "Explain why a package is absent, or which packages require it."),
}

# Words that people type by habit; what they mean is a command of another program, or an option.
ELSEWHERE = {
    "ps": "`docker ps` lists running containers, `jetson-containers llm ps` servers of language models.",
    "stop": "`docker stop NAME` stops a container, `jetson-containers llm stop MODEL` a server.",
    "logs": "`docker logs NAME` shows what a container prints, `jetson-containers llm logs MODEL` a server.",
    "exec": "`docker exec -it NAME bash` starts a shell in a container.",
    "rm": "`docker rm` removes a container, `docker rmi` an image.",
    "rmi": "`docker rmi` removes an image, `jetson-containers prune` all stages.",
    "log": "`docker logs NAME` shows what a container prints, `jetson-containers llm logs MODEL` a server.",
    "start": "`jetson-containers run IMAGE` starts a container.",
    "shell": "`jetson-containers run IMAGE` starts a shell in a container.",
    "install": "`./build.sh PACKAGE` makes an image with it, `jetson-containers pull PACKAGE` fetches one.",
    **dict.fromkeys(
        ("remove", "uninstall", "delete"),
        "`docker rmi` removes an image, `jetson-containers llm rm` a model, `./install.sh --help` tells of this tool.",
    ),
    "find": "`jetson-containers search TEXT` looks for packages, `jetson-containers autotag PACKAGE` for an image.",
    "tags": "`jetson-containers images` lists images, `jetson-containers show PACKAGE` its versions.",
    "status": "`jetson-containers doctor` checks this machine, `jetson-containers stats` shows its load.",
    **{
        name: f"It is a command of `llm`: {command('jetson-containers', 'llm', name)}."
        for name in ("bench", "chat", "fit", "quantize", "serve", "suggest")
    },
}
COMPLETION = "_JETSON_CONTAINERS_COMPLETE"  # set by the script of `completion` when a shell asks


class LazyGroup(AbbreviatingGroup):
    """A group whose commands are imported when they are used."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All command names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """Import one command."""
        entry_point = COMMANDS.get(name)
        if entry_point is None:
            return None
        module, function = entry_point[0].split(":")
        loaded: click.Command = getattr(importlib.import_module(f"jetson_containers.cli.{module}"), function)
        return loaded

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a typo gets a suggestion."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from jetson_containers.core.suggest import did_you_mean

            meant = ELSEWHERE.get(args[0]) or did_you_mean(args[0], COMMANDS).capitalize()
            raise click.UsageError(f"{error.message} {meant}".rstrip(), ctx) from error


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: jetson-containers build llama_cpp && jetson-containers run $(jetson-containers autotag llama_cpp)",
)
@click.version_option(__version__, prog_name="jetson-containers")
@global_options
@click.pass_context
def cli(ctx: click.Context, /, **options: Any) -> None:
    """Build, find and run containers on NVIDIA Jetson, and put a quantized language model on them."""
    ctx.obj = ctx.obj or App()
    ctx.obj.update(options)


def entry(argv: list[str] | None = None) -> None:
    """Run the command line and exit with the code of its error (`core.errors`)."""
    _secure_streams()
    if COMPLETION in os.environ:
        from jetson_containers.cli import complete

        complete.register()
    code = main(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            _settle(stream)
    gc.freeze()  # the interpreter looks for garbage once more at its end, which takes a tenth of a short command
    sys.exit(code)


def main(argv: list[str]) -> int:
    """Run the command line. Expected failures become a message and a code; a bug stays a traceback.

    With `--json` the error is also the result on stdout, where no other result was printed: `{"error": {...}}`.
    """
    app = App()
    if argv[:1] == ["help"]:  # as git, apt and docker have it
        argv = [*argv[1:], "--help"]
    elif argv == ["version"]:
        argv = ["--version"]
    try:
        result = cli.main(args=argv, prog_name="jetson-containers", standalone_mode=False, obj=app)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        return _fail(_usage_error(error), as_json=_asks_for_json(argv))
    except (click.Abort, KeyboardInterrupt):
        stopped = InterruptedByUserError("stopped by Ctrl-C", hint="run the same command again to resume")
        return _fail(stopped, as_json=app.expects_json)
    except JetsonError as error:
        return _fail(error, as_json=app.expects_json)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        full = DiskSpaceError(f"cannot write {error.filename or 'a file'}: {error.strerror}", hint="free some space")
        return _fail(full, as_json=app.expects_json)
    return result if isinstance(result, int) else 0


# How click names its types, which nobody types.
_CLICK_WORDS = {
    "is not a valid integer range": "is not a whole number",
    "is not a valid float range": "is not a number",
}


def _usage_error(error: click.ClickException) -> UsageError:
    """Say click's errors as ours are said."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context else "jetson-containers"
    text = error.format_message()
    text = " ".join(text.split())  # the choices of an option stand in lines of their own
    for theirs, ours in _CLICK_WORDS.items():
        text = text.replace(theirs, ours)
    return UsageError(text, hint=f"see `{path} --help` for usage")


def _asks_for_json(argv: list[str]) -> bool:
    """Whether a line that could not be parsed has `--json`; behind `run` and `--` it may belong to another program."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    return "--json" in (words[: words.index("run")] if "run" in words else words)


def _secure_streams() -> None:
    """Keep closed streams closed, and let every text be written.

    A file opened later would get the number of a closed stream, and a child would write its output into it. A locale
    without UTF-8 must not turn a message into a traceback.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _settle(stream: IO[str]) -> None:
    """Drop what cannot be written; the interpreter would try once more at its end, and replace our exit code."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _fail(error: JetsonError, *, as_json: bool) -> int:
    if isinstance(error, (ReaderGoneError, ToldError)):
        return error.exit_code
    Console().error(error)
    if as_json:
        with contextlib.suppress(JetsonError):  # stdout cannot be written: that has been said
            Console(as_json=True).result_json(
                {
                    "error": {
                        "kind": type(error).__name__,
                        "message": without_passwords(error.message),
                        "hint": without_passwords(error.hint) if error.hint else error.hint,
                        "details": [without_passwords(line) for line in error.details],
                        "exit_code": error.exit_code,
                    }
                }
            )
    return error.exit_code
