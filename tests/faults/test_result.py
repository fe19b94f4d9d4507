"""The page with the results of the faults can be read again, and keeps what was not run."""

from __future__ import annotations

from tests.faults.__main__ import CaseResult, of_junit, read, write

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.faults.real.test_a" name="test_one[x|y]" time="1.25" />
<testcase classname="tests.faults.real.test_a" name="test_two" time="2"><failure message="no" /></testcase>
<testcase classname="tests.faults.real.test_a" name="test_three" time="0"><skipped message="no root" /></testcase>
</testsuite></testsuites>"""


def test_result_of_a_run_is_read_from_what_pytest_wrote() -> None:
    """Passed, failed and skipped cases, with their seconds."""
    found = of_junit(JUNIT, "2026-11-30")
    assert {name: (row.result, row.seconds) for name, row in found.items()} == {
        "test_a::test_one[x/y]": ("passed", 1.25),
        "test_a::test_two": ("failed", 2.0),
        "test_a::test_three": ("skipped", 0.0),
    }


def test_result_that_was_written_is_read_again() -> None:
    """The page holds every row; another run adds to it."""
    first = of_junit(JUNIT, "2026-11-30")
    page = write(first)
    assert "3 cases: 1 passed, 1 failed, 1 skipped" in page
    again = read(page)
    assert set(again) == set(first)
    assert again["test_a::test_two"] == CaseResult(
        case="test_a::test_two", result="failed", seconds=2.0, date="2026-11-30"
    )
    assert read(write(again)) == again
