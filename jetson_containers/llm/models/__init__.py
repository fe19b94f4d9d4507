"""What a model's name means, and the shape of the model.

`lookup` finds it: a name of the hub, a directory, a `.gguf` file or one that was made here (`repository`, `known`).
`config` and `layers` read the shape from `config.json`, `gguf` from the file, `quantized` how it is quantized, and
`weight_files` which files hold the weights. `details` is all that a model says of itself (`safetensors` reads the
types of a checkpoint's tensors).
"""
