"""Where the tests find the checkout and their own data."""

from pathlib import Path

TESTS_DIR = Path(__file__).resolve().parent
ROOT_DIR = TESTS_DIR.parent
UNIT_DIR = TESTS_DIR / "unit"
