"""The machine below the containers: what its disks, swap and power modes are, and steps that change them.

`media`, `swap` and `power` read files below a root directory and decide nothing; a root of captured files is a machine
too.

Public modules: `media`, `power`, `swap`.
"""
