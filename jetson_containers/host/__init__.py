"""The machine below the containers: what its disks, swap and power modes are, and steps that change them.

`media`, `swap`, `power` and `daemon_config` read files below a root directory and decide nothing; a root of captured
files is a machine too. `steps` plans what `setup` changes (`changes`: files with their texts, commands with what undoes
them), and `journal` carries a plan out, writes down what was done, and undoes it.
`usage` is what the machine does at one moment: loads, clocks, temperatures, power (`tegrastats` reads what NVIDIA's
program of that name prints), memory of containers.

Public modules: `changes`, `daemon_config`, `journal`, `media`, `power`, `steps`, `swap`, `tegrastats`, `usage`.
"""
