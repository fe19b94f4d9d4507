"""Recipes become findings.

`run` reads the trees for all supported targets and collects from one module of rules per kind of thing: definitions,
Dockerfiles, the commands in them (`shell`), pip, shared files, platforms. `findings` is the list of rules and what
each says.

Public modules: `findings`, `run`.
"""
