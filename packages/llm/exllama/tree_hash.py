"""Check the SHA-256 of a source tree in Nix's archive format: `tree_hash.py DIRECTORY HEXADECIMAL`.

The format holds names, contents, links and the executable bit, and nothing else, so every archive of one commit has the same hash. It
is how nixpkgs names the sources of projects that publish no checksums. Described in "The Purely Functional Software Deployment
Model" (Dolstra 2006), figure 5.2.
"""

import hashlib
import os
import sys


def words(*items):
    """Byte strings as the format writes them: the length in eight bytes, the content, zeros up to a multiple of eight."""
    return b"".join(len(item).to_bytes(8, "little") + item + bytes(-len(item) % 8) for item in items)


def node(path):
    """The parts of one file, link or directory, without what stands around the whole."""
    yield words(b"(", b"type")
    if os.path.islink(path):
        yield words(b"symlink", b"target", os.fsencode(os.readlink(path)))
    elif os.path.isdir(path):
        yield words(b"directory")
        for name in sorted(os.listdir(os.fsencode(path))):
            yield words(b"entry", b"(", b"name", name, b"node")
            yield from node(os.path.join(os.fsencode(path), name))
            yield words(b")")
    else:
        yield words(b"regular")
        if os.stat(path).st_mode & 0o100:
            yield words(b"executable", b"")
        with open(path, "rb") as file:
            yield words(b"contents", file.read())
    yield words(b")")


def tree_hash(directory):
    whole = hashlib.sha256(words(b"nix-archive-1"))
    for part in node(directory):
        whole.update(part)
    return whole.hexdigest()


if __name__ == "__main__":
    found = tree_hash(sys.argv[1])
    if found != sys.argv[2]:
        sys.exit("%s has the hash %s, not %s" % (sys.argv[1], found, sys.argv[2]))
    print("the source tree has the hash", found)
