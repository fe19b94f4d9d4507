"""Language models: from the name of a model to an answer, with the runtime's own image.

A line of the command becomes an `LlmRequest` (`request`). `prepare.look_up` finds the model (`models.lookup`), the
runtime and the target; `decide.decide` makes one `Decision` of them, with the verdict of the runtime, the predicted
memory and the steps, and a dry run ends there. `prepare.make` finds the image (`image`, `containers`), checks the disk
(`disk_space`) and runs the steps (`pipeline`). The actions use what was prepared: `chat` and `bench` over a `session`
with a `client`, `serve` with `service_files`. `stored` lists and removes what is on the disk, `in_use` protects what is
served, `run_hints` comments on commands of `run`.
"""
