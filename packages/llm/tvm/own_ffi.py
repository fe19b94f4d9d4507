"""Keep the interface library (apache-tvm-ffi) that TVM was compiled with the one that is imported.

TVM and what is compiled with it load only with that one. FlashInfer and vLLM bring a published one under the same name: in an image that
has it already this fails here, and a later install of it fails at once because of the constraint written here.
"""

import importlib.metadata
import sys

NAME = "apache-tvm-ffi"


def versions():
    """The versions of all distributions of that name; TVM before 0.22 has none."""
    found = (item for item in importlib.metadata.distributions() if item.metadata["Name"])
    return sorted(item.version for item in found if item.metadata["Name"].lower().replace("_", "-") == NAME)


def main(constraints):
    found = versions()
    if len(found) > 1:
        sys.exit("TVM's own %s and another one stand in this image: %s" % (NAME, ", ".join(found)))
    with open(constraints, "a") as file:
        file.writelines("%s==%s\n" % (NAME, version) for version in found)
    print(NAME, *found)


if __name__ == "__main__":
    main(sys.argv[1])
