"""What an image is, from its name and labels alone, and whether it runs on a platform.

`name` parses and writes names and tags, `labels` what we write into images, and `compat` makes facts of both and
compares them with a platform; `official` knows what images of others hold whose names do not say it, `space` what
removing some of them frees, `installed` what their files say is installed. Pure: no engine and no registry is asked.

Public modules: `compat`, `installed`, `labels`, `name`, `official`, `space`.
"""
