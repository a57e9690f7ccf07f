"""One job in two processes: one bundle, one voice."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path

from model.bundle import Bundle

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "sample"


def test_two_processes_make_one_bundle(tiny_base: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('extends = "quick"\nepochs = 1\npretraining_epochs = 1\n')
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["firstreply.py", "train", "--train", str(SAMPLE / "train.csv"), "--recipe", str(recipe)]
    command += ["--base", str(tiny_base), "--out", str(tmp_path / "bundle")]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "bundle-run.json", "recipe.toml"]
    assert Bundle.load(tmp_path / "bundle").figures["dev"]
    assert done.stdout.count("dev, all:") == 1
    assert done.stderr.count("epoch 1: ") == 1
    (mentions,) = re.findall(r"^reading (\d+) train", done.stderr, re.MULTILINE)
    assert done.stderr.count(f"pre-trained for {math.ceil(int(mentions) / 64)} steps") == 1
    assert "in 2 processes, 32 mentions a step each" in done.stderr
