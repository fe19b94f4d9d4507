"""Pages for a browser, one HTML file each that fetches nothing: styles, scripts and drawings stand in it.

`build_report` shows a build from its record: `timeline` places what ran, `changes` compares with the build before,
`logs` takes out of the logs what matters. `render` fills the templates; whatever others wrote is escaped there.

`static_site` shows the catalog: `families` has each package on all platforms, `fit_grid` what fits where.

Public modules: `build_report`, `families`, `fit_grid`, `render`, `static_site`.
"""
