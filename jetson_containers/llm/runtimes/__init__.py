"""LLM runtimes: one small file each."""
