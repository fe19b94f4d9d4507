"""Where llama-server is: text-generation-webui expects a package of this name with a binary of its own."""

import shutil


def get_binary_path():
    """The llama-server of the image."""
    path = shutil.which("llama-server")
    if path is None:
        raise FileNotFoundError("there is no llama-server in this image; it is in the package llama_cpp")
    return path
