"""Pages for a browser, one HTML file each that fetches nothing: styles, scripts and drawings stand in it.

`build_report` shows a build from its record: `timeline` places what ran, `changes` compares with the build before,
`logs` takes out of the logs what matters. `render` fills the templates; whatever others wrote is escaped there.

Public modules: `build_report`, `render`.
"""
