"""Plans become images.

`base_image` finds or makes the base; `graph` merges plans, `decide` says what is built, pulled, tested or left, for a
dry run too; `run` carries it out: `loop` and `scheduler` order the stages, `stage_builder` builds and tests one,
`bake_call` builds several by one command, `package_tests` runs tests, `finals` names, labels and pushes. `store` and
`stage_registry` know what is there already, `stage_labels` says what is written into images, `estimates` what a run is
expected to take. Each build leaves one of `records`, which `recorder` collects.

Public modules: `base_image`, `decide`, `estimates`, `graph`, `image_check`, `known_base`, `logs`, `package_tests`,
`progress`, `records`, `resources`, `run`, `scheduler`, `stage_builder`, `stage_labels`, `stage_registry`, `state`,
`store`, `summary`, `types`, `verify`.
"""
