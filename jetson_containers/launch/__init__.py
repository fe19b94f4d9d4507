"""A line of `run` becomes one `docker run` command.

`options` tells our options from docker's (`docker_options`), `command` joins what the host has (`gpu`, `devices`,
`display`, `webcam`) into mounts, environment and notices (`parts`), and then becomes docker, or Podman (`podman`).
`least` takes away what a container does not need.

Public modules: `command`, `docker_options`, `gpu`, `least`, `options`, `parts`, `podman`.
"""
