"""Names of packages become one consistent, ordered set.

`demands` turns requests and `depends:` into demands on families, `direct` decides one family after the other, `search`
lets resolvelib choose where a decision has to be taken back (`solution`), and `solve` orders what was chosen. `explain`
says why there is no set and which other requests have one; `upstream_pins` settles contradicting pins as upstream's
users expect.

Public modules: `solve`.
"""
