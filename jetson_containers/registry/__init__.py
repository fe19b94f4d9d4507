"""Container registries: what they have, with dates, sizes, digests and labels, also when they do not answer.

`listing` gives the tags of repositories from its cache, a registry (`client` over `http` and `auth`, `dockerhub`) or
the `snapshot` in `facts/`, which `refresh` makes anew. A fresh cache needs no HTTP, and imports none.

Public modules: `client`, `http`, `listing`, `refresh`, `snapshot`, `types`.
"""
