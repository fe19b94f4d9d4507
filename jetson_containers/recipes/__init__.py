"""A tree of definitions becomes a catalog of packages for one platform.

`tree` finds the directories, `reader` reads a Dockerfile's header and `config.yaml`, `package` renders versions with
`templating`, `rules` says what holds on the platform, and `catalog` answers for names, families and aliases; `cache`
keeps the result by content. `upstream` reads trees in the format of dusty-nv/jetson-containers, whose `config.py`
runs in a child process, in a sandbox of the kernel where there is one (`isolation`).

Public modules: `budget`, `cache`, `catalog`, `docs`, `files`, `isolation`, `locks`, `package`, `requirement`, `rules`,
`sandbox`, `scaffold`, `schema`, `shared`, `templating`, `tree`, `why`.
"""
