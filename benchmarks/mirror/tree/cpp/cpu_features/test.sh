#!/bin/sh
# The program knows the CPU that it runs on.
set -eu
list_cpu_features | tee /dev/stderr | grep -q '^arch'
