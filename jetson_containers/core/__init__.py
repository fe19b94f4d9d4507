"""What every subpackage may use: errors, messages, settings, facts, files, processes.

An error carries its exit code and a hint to the command line, which prints it; a setting is read from options,
environment, `.env` and files; a table of `facts/` is read once. One module each for locks and atomic writes, memory
of the machine, git, secrets, versions and suggestions, so that there is one way to do each.

Public modules: `checked`, `console`, `copies`, `diagnosis`, `docker_login`, `errors`, `facts`, `files`, `git`,
`json_text`, `live_line`, `memory`, `mirrors`, `parts`, `process`, `secrets`, `settings`, `suggest`, `text`,
`unread_variables`, `versions`, `yaml_text`.
"""
