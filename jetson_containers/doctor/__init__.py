"""A list of checks: finding, severity, why it matters, remedy. Each looks at one thing and changes nothing.

`run` runs the checks of the modules `*_checks`, each in a thread of its own with a time limit, so that none can stop
or delay another; what a check raises becomes its finding. Nothing else of the program imports them.

Public modules: `run`, `types`.
"""
