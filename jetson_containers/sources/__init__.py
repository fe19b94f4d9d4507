"""Models from elsewhere than the Hugging Face hub: Ollama's registry, other registries, ModelScope.

`names` reads what a user types; `ollama`, `oci`, `modelscope` and `direct` say what a model consists of and give its
bytes; `downloads` fills a cache below `data/models` with the hub's own transfer (resume, checksums, locks), and
`downloaded` lists and removes.

Public modules: `describe`, `downloaded`, `downloads`, `names`.
"""
