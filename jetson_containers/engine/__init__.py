"""Container engines: what they can do, and one class that drives them.

`docker.DockerEngine(settings, console)` is the real one; nothing is probed or imported before it is used. Below it:
`probe` chooses the client, `argv` makes command lines, `context` lays out what a build reads, `process` runs
children, `queries` asks the local store, `translate` turns what docker says into our errors.
"""
