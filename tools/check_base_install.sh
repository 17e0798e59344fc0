#!/bin/sh
# Check that `pip install .` alone, without torch, packs, verifies, inspects and unpacks byte for byte.
# Use: sh tools/check_base_install.sh FOLDER      FOLDER: absolute path, empty or absent
set -eu
cd "$(dirname "$0")/.."
scratch=$1
mkdir -p "$scratch/model/nested"
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt .

cd "$scratch"
PATH="$scratch/venv/bin:$PATH"
python - << 'MODEL'
from pathlib import Path
import numpy as np
from safetensors.numpy import save_file

random = np.random.default_rng(0)
weights = {"a.weight": random.standard_normal((300, 64)), "a.bias": np.zeros(300), "scale": np.array(2.0)}
save_file({name: value.astype(np.float32) for name, value in weights.items()}, "model/model.safetensors")
Path("model/nested/notes.txt").write_text("not a checkpoint\n" * 50)
Path("model/empty").touch()
MODEL
tersor pack model -o packed
tersor verify packed --against model
tersor inspect packed --json | python -c 'import json, sys; json.load(sys.stdin)'
tersor unpack packed -o back
diff -r model back
python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is not None)'
echo "pip install . alone packs, verifies, inspects and unpacks"
