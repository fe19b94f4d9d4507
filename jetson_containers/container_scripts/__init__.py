"""Programs that run inside images, mounted read-only at `llm.runtimes.interface.SCRIPTS_DIR`.

Servers with the OpenAI protocol (`openai_server`) for runtimes that have none, quantization and conversion programs,
and the check of an image (`image_check`). They need Python 3.8, the standard library and the packages of the runtime
they drive; nothing of the rest of this package, which is not there.

Public modules: none; they are started by their file names.
"""
