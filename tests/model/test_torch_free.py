"""Serving and scoring work where torch and everything else that only training needs is absent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
import importlib, json, pkgutil, sys
from datetime import UTC, datetime
from pathlib import Path

ABSENT = {"torch", "transformers", "datasets", "sklearn", "pyarrow", "scipy", "pandas", "accelerate", "onnx", "ray"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
modules = ["firstreply", "data.files", "data.schema"]
for package in ("model", "serving"):
    found = importlib.import_module(package)
    modules += [f"{package}.{module.name}" for module in pkgutil.iter_modules(found.__path__)]
for name in modules:
    importlib.import_module(name)

from data.schema import Mention
from model.policy import Policy
from model.scorer import Scorer
from model.triage import Triage

triage = Triage(Scorer.load(Path(sys.argv[1])), Policy.load(None))
mention = Mention(id="1", text="worst service ever, leaving", brand=("Norvane",))
results = triage.answer(mention, as_of=datetime(2026, 11, 21, tzinfo=UTC), explain=True)
present = sorted(ABSENT & {name.partition(".")[0] for name in sys.modules})
print(json.dumps({"modules": modules, "results": results, "present": present}))
"""


def test_serving_and_model_import_and_score_without_what_training_needs(tiny_bundle: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tiny_bundle)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {"model.scorer", "model.triage", "serving.app", "serving.server", "serving.bulk"} <= set(report["modules"])
    assert report["present"] == []
    (result,) = report["results"]
    assert result["id"] == "1"
    assert set(result["why"]) == set(result["labels"])
