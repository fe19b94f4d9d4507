"""Compile the extension whose sources the wheel of exllamav2 holds, instead of at its first import: `extension.py build_ext`.

Run it where the wheel is unpacked. What is compiled is what the project's own setup.py lists: every source in that folder.
"""

from pathlib import Path

from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CUDAExtension

FOLDER = Path("exllamav2", "exllamav2_ext")
FLAGS = ["-O3"]

LINK = ["-Wl,-rpath,$ORIGIN/torch/lib"]  # beside it, so that it loads whether or not torch was imported before

sources = sorted(str(path) for kind in ("*.cpp", "*.cu") for path in FOLDER.rglob(kind))
setup(
    name="exllamav2_ext",
    packages=[],
    ext_modules=[
        CUDAExtension("exllamav2_ext", sources, extra_compile_args={"cxx": FLAGS, "nvcc": FLAGS}, extra_link_args=LINK)
    ],
    cmdclass={"build_ext": BuildExtension},
)
