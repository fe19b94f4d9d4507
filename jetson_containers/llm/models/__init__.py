"""What a model's name stands for, and the shape of a model.

`lookup` answers what a name means, with `repository` for the files of the hub and `known` for well-known models.
`shape` reads the shape from files: `config` and `layers` from a config.json, `quantized` how its weights are stored,
`weight_files` how large they are, `gguf` a GGUF file. `types` are the results.
"""
