"""A resolved set becomes stages with keys and a final name.

`request` goes from names to plans, `planner` makes the stages, `keys` hashes what a stage is made of, `stage` and
`plan` hold the result with its output as text and JSON, `order` puts packages
into canonical order, `economy` counts stages against their bounds, `estimate` says what building takes, and
`final_name` names the image. `lock` writes a plan down and tells what differs from one that was. Nothing is built here,
and no engine is asked.

Public modules: `estimate`, `keys`, `lock`, `plan`, `planner`, `request`, `stage`.
"""
