#!/bin/sh
# The program prints a grammar, and the wheel holds its binding.
set -eu
xgrammar-check '[0-9]+' | tee /dev/stderr | grep -q 'root ::='
ls /opt/xgrammar/lib/python3.*/site-packages/xgrammar/libxgrammar_bindings.so
cat /opt/sources/xgrammar
