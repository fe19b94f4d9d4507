"""The runtimes, one module each, as pure descriptions of commands.

`interface` is what the pipeline needs of a runtime. `common` holds what most share; their limits are the rows of
`support_table`, with `support` and `limits` for the architectures they load, and `calibration` for the text that
quantizers measure. `mlc/` has both interfaces of MLC.
"""
