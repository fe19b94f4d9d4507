"""LLM runtimes: one small module each, behind `interface`.

`support_table` says from `facts/runtimes.yaml` which versions run where and with which quantizations; `common` is
what most runtimes share; `mlc` has a subpackage of its own.
"""
