"""Plans become files for other programs that build or show them; nothing is built and no engine is asked.

`jobs` cuts the merged graph into runs of stages that one machine builds, with levels and edges; `github`, `gitlab` and
`bake` write these down for CI services and for buildx. `drawing` makes a graph of a plan for Graphviz, Mermaid or a
browser; `sbom` and `provenance` describe an image for tools that judge where software comes from.

Public modules: `bake`, `drawing`, `github`, `gitlab`, `jobs`, `provenance`,
`sbom`.
"""
