"""The Hugging Face hub: describe, download, list and remove what is below `data/models/huggingface`.

`describe` says what a repository holds, `downloads` fetches it, `uploads` sends what was made here, `cache` lists and
removes, `host_owner` says for whom root writes. `transfer` does the work, here and in the images; the modules beside it
are the host's side. huggingface_hub is imported only when the hub is asked.

Public modules: `cache`, `describe`, `downloads`, `host_owner`, `transfer`, `uploads`.
"""
