"""The command line as its users meet it: exit statuses, one clear line for what is wrong, and nothing lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from data.schema import INTENTS
from firstreply import main

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "data" / "sample"


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["serve"],
        ["score"],
        ["train"],
        ["calibrate"],
        ["evaluate"],
        ["race"],
        ["bench"],
        ["data"],
        ["data", "build"],
        ["data", "describe"],
        ["data", "export-labels"],
        ["policy"],
        ["policy", "check"],
        ["policy", "explain"],
    ],
)
def test_every_command_has_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    assert "firstreply" in capsys.readouterr().out


def test_version_is_the_one_that_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert capsys.readouterr().out == f"firstreply {declared}\n"


@pytest.mark.parametrize(
    "arguments", [[], ["scroe"], ["score"], ["serve", "--port", "70000"], ["score", "x", "--cut", "p99"]]
)
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --out, and either --train"),
        (["--train", "x.csv"], "give --out"),
        (["--out", "b", "--reproduce", "run.json", "--seed", "3"], "--seed would do nothing"),
        (["--out", "b", "--train", "x.csv", "--group", "source"], "--group would do nothing"),
        (["--out", "b", "--train", "x.csv", "--sweep", "3", "--keep-fp32"], "--keep-fp32 would do nothing"),
        (["--out", "b", "--train", "x.csv", "--sweep", "3", "--cross-validate", "3"], "not allowed with"),
        (["--out", "b", "--train", "x.csv", "--cross-validate", "1"], "not a number of folds"),
    ],
)
def test_train_refuses_options_that_do_nothing(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", *options])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_score_a_file(tiny_bundle: Path, tmp_path: Path) -> None:
    source = tmp_path / "mentions.csv"
    source.write_text("id,text,brand,followers\na,leaving you today,Northtel,10\nb,,Northtel,\nc,thanks,Northtel,-5\n")
    assert main(["score", str(source), "--bundle", str(tiny_bundle), "--as-of", "2026-11-21T10:00:00Z"]) == 3
    results = [json.loads(line) for line in (tmp_path / "mentions.scored.jsonl").read_text().splitlines()]
    rejects = [json.loads(line) for line in (tmp_path / "mentions.scored.jsonl.rejects.jsonl").read_text().splitlines()]
    assert [result["id"] for result in results] == ["a"]
    assert list(results[0]["probabilities"]) == list(INTENTS)
    assert [(reject["row"], reject["id"]) for reject in rejects] == [(2, "b"), (3, "c")]
    assert "followers" in rejects[1]["reason"]


def test_csv_without_text(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "mentions.csv"
    source.write_text("id,tekst\n1,hello\n")
    assert main(["score", str(source), "--bundle", str(tiny_bundle)]) == 1
    message = capsys.readouterr().err
    assert message.startswith("firstreply: ")
    assert "text" in message
    assert "tekst" in message


def test_truncated_parquet(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = tmp_path / "whole.parquet"
    assert main(["score", str(SAMPLE / "heldout.csv"), "-o", str(whole), "--bundle", str(tiny_bundle)]) == 0
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole.read_bytes()[:-100])
    assert main(["score", str(cut), "--bundle", str(tiny_bundle)]) == 1
    assert "cut.parquet" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "brands.toml", "MODEL_CARD.md", "bundle.json"])
def test_bundle_with_one_byte_flipped(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_bundle, damaged)
    content = bytearray((damaged / name).read_bytes())
    content[len(content) // 2] ^= 1
    (damaged / name).write_bytes(content)
    for command in (["serve", "--port", "0"], ["score", str(SAMPLE / "heldout.csv"), "-o", str(tmp_path / "out.csv")]):
        assert main([*command, "--bundle", str(damaged)]) == 1
        message = capsys.readouterr().err
        assert name in message
        assert len(message.splitlines()) == 1
    assert not (tmp_path / "out.csv").exists()


def test_policy_with_a_misspelt_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text((ROOT / "model" / "policy.toml").read_text().replace("churn_risk =", "chrun_risk =", 1))
    assert main(["policy", "check", str(policy)]) == 1
    assert "churn_risk" in capsys.readouterr().err


def test_policy_check_and_explain(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check"]) == 0
    assert "churn_risk" in capsys.readouterr().out
    text = "switching to you next week, can you call me?"
    assert main(["policy", "explain", text, "--followers", "5000", "--bundle", str(tiny_bundle)]) == 0
    shown = capsys.readouterr().out
    assert "reach" in shown
    assert "switching" in shown
    assert main(["policy", "explain", text, "--followers", "many", "--bundle", str(tiny_bundle)]) == 1
    assert "followers" in capsys.readouterr().err


def test_race(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(SAMPLE / "heldout.csv")
    assert main(["race", "--data", data, "--bundle", str(tiny_bundle), "--days", "3", "--per-day", "50"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (figures["days"], figures["per_day"]) == (3, 50)


def test_fidelity_of_the_quantised_bundle(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twin = tiny_bundle.with_name("bundle-fp32")
    data = str(SAMPLE / "heldout.csv")
    assert main(["evaluate", "--bundle", str(tiny_bundle), "--fidelity", str(twin), "--data", data]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["neighbour_difference"] < 1e-5


def test_data_build_needs_something(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "build", "--out", str(tmp_path / "x.csv")]) == 1
    assert "--raw DIR" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--raw", "--corpora"])
def test_data_build_from_a_missing_folder(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "build", option, str(tmp_path / "corpora"), "--out", str(tmp_path / "x.csv")]) == 1
    assert capsys.readouterr().err == f"firstreply: {tmp_path / 'corpora'}: no such folder of corpora\n"


def test_reader_that_goes_away_is_no_error() -> None:
    command = [sys.executable, "firstreply.py", "policy", "check"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, complaint = process.communicate()
    assert complaint == b""
    assert process.returncode == 141
