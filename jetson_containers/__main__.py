"""`python -m jetson_containers …` is the same as the `jetson-containers` command."""

from jetson_containers.cli.main import entry

if __name__ == "__main__":
    entry()
