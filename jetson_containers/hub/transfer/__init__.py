"""Fetching from the Hugging Face hub: the same code on the host and in the images.

The recipe `packages/llm/huggingface_hub` shares this folder, so it has to run in images: on Python 3.8, with
huggingface_hub 0.36 up to 2.x and the standard library, nothing else. Hence relative imports, and no import of
huggingface_hub before it is needed, and locks, atomic writes and free space of its own beside `core/files`.

The library supplies requests, endpoints, proxies, certificates and the meaning of error answers. What it lacks, or does
differently from release to release, is here: 0.36 goes on with a file where it stopped, 1.x and 2.x begin again after a
kill; none of them compares what arrived with its checksum; 0.36 does not retry HTTP 429, 1.x and 2.x not the 5xx of a
file. So listing, transfer and verification are ours, and the cache they fill is the library's own. Xet is not used: its
files are given over HTTP as well, in ranges, which is what going on after a kill needs.
"""
