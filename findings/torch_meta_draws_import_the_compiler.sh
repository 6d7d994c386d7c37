#!/usr/bin/env bash
# What: making a layer without memory (torch's device "meta") is quick, but drawing normal numbers there, as many models do when they are made, imports torch's compiler and sympy.
# Versions: torch 2.13.0. Seen 2026-11-30.
# Why it matters: "meta" is used to look at the shapes of a model before its weights are read; where its initialisation calls normal_ or trunc_normal_ (ViT, tokens of attention) the look takes longer than importing torch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch==2.13.0' 'numpy==2.4.6'
cd "$folder"
cat > look.py <<'PYTHON'
import sys
import time

import torch
from torch import nn

known, start = len(sys.modules), time.process_time()
with torch.device(sys.argv[1]):
    if sys.argv[2] == "linear":
        nn.Linear(8, 8)
    else:
        nn.init.normal_(nn.Parameter(torch.empty(8, 8)))
print(len(sys.modules) - known, f"{time.process_time() - start:.2f}", "sympy" in sys.modules)
PYTHON
for kind in "meta linear" "cpu normal" "meta normal"; do
  venv/bin/python look.py $kind > "${kind/ /_}"  # twice: the first one writes byte code
  venv/bin/python look.py $kind > "${kind/ /_}"
done
venv/bin/python -c 'import torch; print("torch", torch.__version__)'
echo "expected: less work on meta than on a CPU, where the numbers are drawn"
while read -r modules seconds sympy; do echo "seen:     nn.Linear on meta: $modules modules imported, $seconds s, sympy $sympy"; done < meta_linear
while read -r modules seconds sympy; do echo "seen:     normal_ on the CPU: $modules modules imported, $seconds s, sympy $sympy"; done < cpu_normal
while read -r modules seconds sympy; do echo "seen:     normal_ on meta: $modules modules imported, $seconds s, sympy $sympy"; done < meta_normal
grep -q False meta_linear && grep -q False cpu_normal && grep -q True meta_normal || { echo "no longer as stated"; exit 1; }
