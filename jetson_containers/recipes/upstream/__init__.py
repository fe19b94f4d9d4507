"""Package trees in the format of dusty-nv/jetson-containers.

`forms` tells which directories are in that format, `data` and `merge` read their YAML and JSON, `config_py` runs
their `config.py` in one child process (`child`), and `packages` makes packages of the result; `reader` puts it
together.
"""
