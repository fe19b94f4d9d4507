"""MLC: `runtime` judges a job and chooses the interface, `mlc_llm` (the present one) or `mlc_chat` (of JetPack 5).

`devices` are the targets it compiles for and their options, `conv_templates` the conversation templates.
"""
