"""Rules for all tests: a skip says what this machine lacks, and CI does not accept one that could have run.

With JETSON_CONTAINERS_STRICT_SKIPS=1 a skip whose reason does not begin with "cannot run here:" counts as a failure.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.hubserver import HubServer

ALLOWED = "cannot run here:"

# How fast examples are made and run says nothing about the code: it depends on what else the machine does.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Let the programs that tests start, and other workers, find what was compiled once.

    It lies outside of the checkout and is gone at the end, so a wish for none beside the sources is kept as well.
    """
    if hasattr(config, "workerinput") or "PYTHONPYCACHEPREFIX" in os.environ:
        return
    compiled = tempfile.mkdtemp(prefix="jetson-containers-tests-")
    os.environ["PYTHONPYCACHEPREFIX"] = compiled
    hidden = os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

    def restore() -> None:
        del os.environ["PYTHONPYCACHEPREFIX"]
        if hidden is not None:
            os.environ["PYTHONDONTWRITEBYTECODE"] = hidden
        shutil.rmtree(compiled, ignore_errors=True)

    config.add_cleanup(restore)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Let each worker import its share of the test modules first, so that the others find those compiled.

    Rewriting the assertions of all modules takes several times as long as importing them; workers that all begin with
    the first module would each do all of it.
    """
    worker = getattr(session.config, "workerinput", None)
    if worker is None or worker["workercount"] == 1:
        return
    own = int(worker["workerid"].removeprefix("gw")) % worker["workercount"]
    for module in _modules(session.config)[own :: worker["workercount"]]:
        with contextlib.suppress(Exception, pytest.skip.Exception):  # collecting it tells
            importlib.import_module(module)


def pytest_collection_finish() -> None:
    """Keep what was collected out of the search for garbage: it stays to the end, and each search would walk it."""
    gc.collect()
    gc.freeze()


def _modules(config: pytest.Config) -> list[str]:
    """The names of the test modules that the command line names, also by their folder."""
    named = [Path(config.invocation_params.dir, argument.partition("::")[0]) for argument in config.args]
    files = {file for path in named for file in (path.rglob("test_*.py") if path.is_dir() else [path])}
    packages = [file for file in files if (file.parent / "__init__.py").is_file()]  # others have no name of their own
    inside = [file.relative_to(config.rootpath) for file in packages if file.is_relative_to(config.rootpath)]
    return sorted(".".join(file.with_suffix("").parts) for file in inside)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Let a worker send one message of a test that passes instead of five: they took longer than most of our tests.

    What begins, its set-up and its clean-up are nothing the summary of a quiet run shows unless they fail.
    """
    options = item.config.option
    told = options.verbose > 0 or options.durations is not None or options.xmlpath is not None
    if told or not hasattr(item.config, "workerinput"):
        return None
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.when == "call" or not report.passed:
            report.keywords = {}  # the names of the test, its parents and marks: only a filter of reports reads them
            item.ihook.pytest_runtest_logreport(report=report)
    return True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.CallInfo[None], None]:
    """Turn a skip that CI does not accept into a failure."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if os.environ.get("JETSON_CONTAINERS_STRICT_SKIPS") != "1" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if ALLOWED not in reason:
        report.outcome = "failed"
        report.longrepr = f"skipped, although CI has to run it: {reason}"


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """Keep the user's settings and tokens out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("JETSON_CONTAINERS_") and name != "JETSON_CONTAINERS_STRICT_SKIPS":
                patch.delenv(name)
        for name in ("HF_TOKEN", "HUGGINGFACE_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE"):
            patch.delenv(name, raising=False)
        for name in ("L4T_VERSION", "CUDA_VERSION", "PYTHON_VERSION", "LSB_RELEASE"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_signals() -> Iterator[None]:
    """Take signals as a program at a terminal does, even where the suite was started with `&` or nohup.

    What ignores a signal hands that on to its children; a handler of Python's becomes the default in them.
    """
    usual = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
        signal.SIGQUIT: signal.SIG_DFL,
    }
    main = threading.current_thread() is threading.main_thread()
    ignored = [number for number in usual if main and signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, usual[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def hub_server() -> Iterator[HubServer]:
    """A Hugging Face hub on loopback: `add` repositories, order faults with `fail`, read its log in `seen`."""
    from tests.hubserver import HubServer

    with HubServer() as server:
        yield server
