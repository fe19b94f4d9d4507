"""What is in the image has the versions that a Python package's metadata asks for.

    requirements.py NAME...

Recipes install without dependencies, from locks, so pip never compares two of them. Here every requirement of the named
distributions is compared with what is there; what they require and the image leaves out on purpose is listed and no error. A NAME
that is not installed is passed over, as the package on top of which another one may stand.
"""

import importlib.metadata
import sys

from pip._vendor.packaging.requirements import Requirement


def installed(name):
    """The version that is there, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def contradictions(name):
    """Lines on what is there in a version that `name` does not accept; and the names of what is not there."""
    wrong, absent = [], []
    for text in importlib.metadata.requires(name) or []:
        need = Requirement(text)
        if need.marker and not need.marker.evaluate({"extra": ""}):
            continue
        there = installed(need.name)
        if there is None:
            absent.append(need.name)
        elif not need.specifier.contains(there, prereleases=True):
            wrong.append("%s %s wants %s, and %s is there" % (name, installed(name), text, there))
    return wrong, absent


def main(names):
    found = []
    for name in names:
        if installed(name) is None:
            continue
        wrong, absent = contradictions(name)
        found += wrong
        print(name, installed(name), "and what it wants", "without " + " ".join(absent) if absent else "")
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
