"""Container engines: what they can do, and one class that drives them.

`probe` chooses the client and finds what it can do (`cdi`: which devices have names), `docker.DockerEngine` builds,
runs, tags and pushes: `argv` makes the command lines, `bake` the definition of several stages for one command, whose
reports `bake_progress` reads.
`context` lays out what a build reads, `messages` turns docker's words into our errors. `queries` asks the local store
by command, or over the engine's socket by `api`; `sdk` asks through the Docker SDK where streams or events are needed.
`owner` knows which process ends a container. `interface` is what the rest of the program sees, `bridge` where it cannot
give networks, `podman_engine` Podman for `run` and `llm`. Nothing is probed or imported before it is used.

Public modules: `archive`, `argv`, `bake`, `bridge`, `context`, `docker`, `emulation`, `image_files`,
`interface`, `owner`, `podman_engine`, `pull`.
"""
