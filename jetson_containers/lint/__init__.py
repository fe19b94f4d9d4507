"""The parts of `lint`: the shell reader, and one module per kind of thing that is looked at."""
