"""The child process that runs upstream's `config.py`, with the standard library only.

`main` reads jobs and writes definitions, `stub` is what recipes import as `jetson_containers`, `guard` stops what a
recipe must not do, `environment` records what it read, and `availability` answers its questions for other packages.
"""
