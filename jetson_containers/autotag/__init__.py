"""A request becomes one image.

`sources` asks the local store and registries for candidates (`types`), `matching` tells which belong to the request,
`candidates` reads what names, labels and rows say, `ranking` orders those that run here, and `search` goes through
the sources in order until one has an image, or says that it would be built.

Public modules: `search`.
"""
