"""Look at what an image holds without needing a GPU: libraries, GPU code, imports.

`python3 -m image_check` runs inside the image with Python 3.8 or newer and nothing but the standard library, and
prints one JSON document that `builder/image_check.py` judges. It reads ELF files itself (`elf.py`) and the GPU code
in them (`fatbin.py`), repeats what the dynamic loader would do (`loader.py`), and then imports the Python packages
whose files need the GPU driver, beside a driver that it writes itself and that has no device (`stub.py`,
`imports.py`).
"""
