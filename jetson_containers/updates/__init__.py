"""What recipes and images pin is compared with what upstream has today.

`pins` collects the pins of recipes and the packages of an image, `index` asks a package index for versions and known
vulnerabilities, `tags` asks git for tags, and `report` judges each pin. What cannot be asked stays unknown.

Public modules: `pins`, `report`.
"""
