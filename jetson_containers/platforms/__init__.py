"""The machine an image runs on, or the target it is built for.

Files below `/` (`host`), upstream's environment variables and `--target` (`target`) become one `Platform` in
`detect`: L4T, CUDA, Python, distribution, GPU architectures. `tables` holds the facts of L4T releases, boards and
distributions; `overrides` applies what a target says besides the machine; `cuda` knows which CUDA runs on which
driver, `cuda_repository` where its packages are.

Public modules: `cuda`, `cuda_repository`, `detect`, `host`, `overrides`, `platform`, `tables`, `target`.
"""
