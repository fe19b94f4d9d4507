"""A model's name becomes a server or an answer.

`models` says what the name means, `runtimes` what can serve it and with which commands, `fit` whether it fits in
memory, and `decide` settles model, runtime, quantization and steps: that is all a dry run does. `prepare` carries the
steps out (`pipeline`) in `containers`; `chat`, `serve` and `bench` start the server (`session`) and talk with it
(`client`).

Public modules: `bench`, `chat`, `containers`, `context`, `conversation`, `decide`, `download_in_image`, `fit`,
`image_answers`, `in_use`, `metrics`, `models`, `prepare`, `request`, `run_hints`, `serve`, `servers`,
`shown_commands`, `stored`.
"""
