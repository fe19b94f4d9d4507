"""The command line: one module per command or group of commands.

`main` finds the command, `app` holds what all of them share (platform, settings, engine, catalog; each made when it
is first asked for), and each command parses its line, calls one subpackage and shows the result.

Public modules: `main`.
"""
