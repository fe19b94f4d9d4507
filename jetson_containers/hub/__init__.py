"""The Hugging Face hub: describe, fetch, list and remove what is below `data/models/huggingface`.

`transfer/` does the fetching, here and in the images; the modules beside it are the host's side. huggingface_hub is
imported only when the hub is asked.
"""

from jetson_containers.hub.cache import CachedRepo, cached, remove
from jetson_containers.hub.describe import ModelInfo, describe
from jetson_containers.hub.downloads import cache_of, download

__all__ = ["CachedRepo", "ModelInfo", "cache_of", "cached", "describe", "download", "remove"]
