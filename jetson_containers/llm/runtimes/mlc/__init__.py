"""MLC LLM with its two interfaces: `mlc_chat` of JetPack 5 and `mlc_llm` after it.

`runtime` chooses between them, `devices` holds the device options of each board, `conv_templates` the chat templates.
"""
