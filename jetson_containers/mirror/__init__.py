"""What plans fetch becomes a folder that serves it again.

`needs` reads from the sources of a plan which repositories, files and Python packages it fetches; `fill` brings them
into a folder, each checked by commit or hash, and `serve` offers the folder to builds as the setting `mirrors`.

Public modules: `fill`, `needs`, `serve`.
"""
