#!/bin/sh
# Compile what changed and install tersor, editable, into a virtual environment that `make` has filled; then
# write the stub that mypy reads. Incremental, and takes a lock, so several people may call it in one work tree.
# Use: sh tools/build.sh [VENV]        VENV: default .venv beside the Makefile
set -eu
cd "$(dirname "$0")/.."
venv=$(cd "${1:-.venv}" && pwd)
PATH="$venv/bin:$PATH"
export PATH
exec 9> "$venv/.build-lock"
if command -v flock > /dev/null; then flock 9; fi
python -m pip install --quiet --no-deps --no-build-isolation -C build-dir="$venv/.build" -c constraints.txt -e .
python -m nanobind.stubgen --quiet -m tersor._core -o src/tersor/_core.pyi
