"""Dockerfiles: parsed, brought into one form for keys, and given what a build needs.

`parser` makes instructions of a text; `inject` adds mounts, the CA bundle, wheels and the number of jobs for the
builder at hand, so that recipes stay plain.

Public modules: `inject`, `mirror_script`, `parser`.
"""
