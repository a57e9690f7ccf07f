"""Teachers: a kept encoder reads as the network that it was, and what is no teacher is said."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from data.files import read_labelled
from data.schema import INTENTS, LabelledMention
from model.brands import Brands
from model.bundle import Bundle, file_hash
from model.encoding import Encoder
from model.scorer import Scorer
from tests.conftest import SAMPLE
from training import calibrate
from training.base import BaseModelError, load_base
from training.examples import token_ids
from training.job import TrainingError, TrainJob
from training.kept import HEAD, RECORD, Kept, average, keep, kept_record, restore_head
from training.network import IntentNetwork, add_masks, target_id
from training.recipe import load_recipe
from training.sample import Floats, Sample
from training.teachers import Teacher, TeacherError, taught
from training.train import train

BRANDS = Brands.load(SAMPLE / "brands.toml")
MENTIONS = read_labelled(SAMPLE / "train.csv")[:40]
DEV = read_labelled(SAMPLE / "heldout.csv")


@pytest.fixture(scope="module")
def kept(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[IntentNetwork, Path]:
    torch.manual_seed(5)
    encoder, tokenizer = load_base(str(tiny_base))
    add_masks(encoder, tokenizer)
    network = IntentNetwork(encoder, target_id(tokenizer), dropout=0.1).eval()
    torch.nn.init.normal_(network.head.weight)
    folder = tmp_path_factory.mktemp("kept") / "encoder"
    keep(network, tokenizer, folder, Kept(base_model="tiny", max_tokens=96, data=()))
    return network, folder


def test_a_kept_encoder_reads_as_the_network_it_was(
    kept: tuple[IntentNetwork, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.teachers.multiplies_bfloat16", lambda: False)
    network, folder = kept
    encoder = Encoder.load(folder / "tokenizer.json", 96)

    def logits(mentions: Sequence[LabelledMention]) -> Floats:
        rows = []
        for ids in token_ids(mentions, encoder, BRANDS):
            row = torch.tensor([ids])
            with torch.no_grad():
                rows.append(network.logits(row, torch.ones_like(row))[0].numpy())
        return np.array(rows, dtype=np.float64)

    calibration = calibrate.fit(Sample.of(DEV, logits(DEV))).calibration
    expected = calibrate.probabilities(calibration, logits(MENTIONS))
    assert np.allclose(Teacher.load(folder).read(MENTIONS, DEV, BRANDS), expected, atol=1e-4)


def test_a_base_without_a_kept_head_begins_with_a_new_one(kept: tuple[IntentNetwork, Path], tiny_base: Path) -> None:
    network, folder = kept
    other = IntentNetwork(load_base(str(folder))[0], network.target_id, dropout=0.1)
    assert kept_record(tiny_base) is None
    assert kept_record(folder) == Kept(base_model="tiny", max_tokens=96, data=())
    restore_head(other, folder)
    assert torch.equal(other.head.weight, network.head.weight)


def test_weights_are_averaged_with_those_of_kept_encoders(kept: tuple[IntentNetwork, Path], tmp_path: Path) -> None:
    network, folder = kept
    other = IntentNetwork(load_base(str(folder))[0], network.target_id, dropout=0.1)
    torch.manual_seed(6)
    for weight in other.parameters():
        torch.nn.init.normal_(weight)
    expected = {
        name: (weight + 2 * network.state_dict()[name]) / 3 if weight.is_floating_point() else weight.clone()
        for name, weight in other.state_dict().items()
        if name.startswith(("encoder.", "head."))
    }
    average(other, [folder, folder])
    for name, weight in expected.items():
        assert torch.allclose(other.state_dict()[name], weight, atol=1e-6), name
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    save_file({"weight": torch.zeros(5, 3), "bias": torch.zeros(5)}, damaged / HEAD)
    with pytest.raises(BaseModelError, match="intent_head"):
        average(other, [damaged])


def test_no_epochs_make_a_bundle_of_kept_encoders_as_they_are(tiny_base: Path, tmp_path: Path) -> None:
    recipe = load_recipe("quick", base=str(tiny_base), epochs=1)
    files = (SAMPLE / "heldout.csv",), SAMPLE / "train.csv"
    first = TrainJob(files[0], tmp_path / "first", recipe, files[1], SAMPLE / "brands.toml", keep_encoder=True)
    train(first)
    kept_folder = first.beside("encoder")
    again = replace(first, out=tmp_path / "again", recipe=load_recipe("quick", base=str(kept_folder), epochs=0))
    train(again)
    assert file_hash(again.out / "model.onnx") == file_hash(first.out / "model.onnx")
    assert Bundle.load(again.out).data == Bundle.load(first.out).data
    train(replace(again, averaged=(kept_folder, kept_folder)))
    assert "the mean of 3 fine-tunings" in (again.out / "MODEL_CARD.md").read_text(encoding="utf-8")
    with pytest.raises(TrainingError, match="trains nothing"):
        train(replace(again, recipe=load_recipe("quick", base=str(tiny_base), epochs=0)))
    with pytest.raises(TrainingError, match="leave --teacher"):
        train(replace(again, teachers=(kept_folder,)))
    with pytest.raises(TrainingError, match="read 64 tokens"):
        train(replace(again, recipe=again.recipe.model_copy(update={"max_tokens": 96})))
    with pytest.raises(TrainingError, match="--average-with"):
        train(replace(again, averaged=(tiny_base,)))
    record = kept_record(kept_folder)
    assert record is not None
    other = record.model_copy(update={"base_model": "another encoder"})
    (kept_folder / RECORD).write_text(other.model_dump_json(), encoding="utf-8")
    with pytest.raises(TrainingError, match="made of another encoder"):
        train(replace(first, averaged=(kept_folder,)))


def test_teachers_are_averaged_and_not_asked_twice(
    kept: tuple[IntentNetwork, Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    teachers = [Teacher.load(tiny_bundle), Teacher.load(kept[1])]
    found = taught([teacher.folder for teacher in teachers], MENTIONS, DEV, BRANDS, tmp_path)
    assert found.shape == (len(MENTIONS), len(INTENTS))
    readings = Scorer.load(tiny_bundle).read_all((mention.text, mention.target) for mention in MENTIONS)
    ours = np.array([reading.probabilities for reading in readings])
    assert np.allclose(found, (ours + teachers[1].read(MENTIONS, DEV, BRANDS)) / 2)
    assert np.array_equal(taught([], MENTIONS, DEV, BRANDS, tmp_path), found)


def test_what_is_no_teacher_is_said(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="give a bundle or what --keep-encoder kept"):
        Teacher.load(tmp_path)


def test_what_an_encoder_learnt_from_goes_on_with_it(
    kept: tuple[IntentNetwork, Path], tiny_base: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(kept[1], folder)
    learnt = {"name": "airline", "mentions": 7, "licence": "CC BY-NC-SA 4.0", "title": "Airlines"}
    (folder / RECORD).write_text(Kept(base_model="tiny", max_tokens=96, data=(learnt,)).model_dump_json())
    recipe = load_recipe(None, base=str(folder), epochs=1, precision="float32")
    job = TrainJob(train=(SAMPLE / "train.csv",), out=tmp_path / "bundle", recipe=recipe, keep_encoder=True)
    train(job)
    assert [row["name"] for row in Bundle.load(job.out).data] == ["sample", "airline"]
    assert Bundle.load(job.out).base_model == "tiny"
    further = kept_record(tmp_path / "bundle-encoder")
    assert further is not None
    assert [row["name"] for row in further.data] == ["sample", "airline"]
    with pytest.raises(TrainingError, match=f"the base {folder} was trained on airline"):
        train(replace(job, permissive=True))
    taught_by = load_recipe(None, base=str(tiny_base), epochs=1, precision="float32")
    with pytest.raises(TrainingError, match=f"the teacher {folder} was trained on airline"):
        train(replace(job, permissive=True, recipe=taught_by, teachers=(folder,)))


def test_a_damaged_head_is_said(kept: tuple[IntentNetwork, Path], tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(kept[1], folder)
    (folder / HEAD).write_bytes(b"x")
    with pytest.raises(BaseModelError, match="keep the encoder again"):
        restore_head(kept[0], folder)
