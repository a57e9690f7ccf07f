"""A small student: its tokens stand for the base's, it learns the base's states, and its bundle is a bundle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from data.files import read_labelled
from model.brands import Brands
from model.encoding import Encoder
from model.normalise import MASKS, normalise
from model.scorer import Scorer, session_inputs
from tests.conftest import SAMPLE
from training.base import BaseModelError, load_base
from training.cross_validate import CrossValidation, cross_validate
from training.examples import padded, token_ids
from training.job import TrainingError, TrainJob
from training.kept import restore_head
from training.network import IntentNetwork, add_masks, target_id
from training.recipe import RecipeError, load_recipe
from training.record import facts
from training.student import Imitation, small_encoder, small_tokenizer
from training.train import train

SHAPE = {"layers": 1, "width": 32, "heads": 2, "feed_forward": 48}


def _read(base: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, list[list[int]]]:
    encoder, tokenizer = load_base(str(base))
    add_masks(encoder, tokenizer)
    read = Encoder.of(Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()), 64)
    mentions, brands = read_labelled(SAMPLE / "train.csv"), Brands.load(SAMPLE / "brands.toml")
    ids = [list(read.encode(normalise(one.text, one.target, brands).words)[0]) for one in mentions]
    return encoder, tokenizer, ids


def test_small_tokens_stand_for_the_base_s(tiny_base: Path) -> None:
    _, tokenizer, ids = _read(tiny_base)
    tokens = small_tokenizer(tokenizer, ids, rarest=1)
    small, base_ids = tokens.tokenizer, tokens.base_ids
    assert len(small) == len(base_ids) < len(tokenizer)
    mentions, brands = read_labelled(SAMPLE / "train.csv"), Brands.load(SAMPLE / "brands.toml")
    read = Encoder.of(small.backend_tokenizer, 64)
    for mention, before in zip(mentions, ids, strict=True):
        after = read.encode(normalise(mention.text, mention.target, brands).words)[0]
        assert base_ids[after].tolist() == before
    assert [small.convert_ids_to_tokens(target_id(small))] == [MASKS[0]]
    fewer = small_tokenizer(tokenizer, ids, rarest=20).tokenizer
    assert len(fewer) < len(small)
    assert fewer.unk_token_id not in fewer("refrigerator")["input_ids"]  # read letter by letter, if need be


def test_another_kind_of_tokenizer() -> None:
    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE({"a": 0}, [])))
    with pytest.raises(BaseModelError, match="WordPiece tokenizer, and this one's is BPE"):
        small_tokenizer(other, [], 1)


def test_states_are_learnt_and_the_base_is_neither_trained_nor_saved(tiny_base: Path) -> None:
    torch.manual_seed(0)
    base, tokenizer, ids = _read(tiny_base)
    recipe = load_recipe(None, student=SHAPE)
    assert recipe.student is not None
    tokens = small_tokenizer(tokenizer, ids, 1)
    places = {int(old): new for new, old in enumerate(tokens.base_ids)}
    mentions = [[places[token] for token in one] for one in ids]
    encoder = small_encoder(base, tokens.base_ids, recipe.student, 64)
    imitation = Imitation(IntentNetwork(base, target_id(tokenizer), 0.0), tokens, recipe.student, 32, mentions)
    network = IntentNetwork(encoder, target_id(tokens.tokenizer), 0.0, None, imitation)
    before = {name: weight.clone() for name, weight in base.state_dict().items()}
    assert not any("_base" in name for name in network.state_dict())
    rows = torch.tensor([one[:8] for one in mentions if len(one) >= 8][:64])
    batch = {"input_ids": rows, "attention_mask": torch.ones_like(rows), "labels": torch.full((len(rows), 5), -1.0)}
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        loss = network(**batch)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert all(torch.equal(weight, before[name]) for name, weight in base.state_dict().items())
    assert network.eval()(**batch)["loss"].item() == 0  # no label is known, and it is not training


def test_a_student_s_bundle(tiny_base: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    recipe = load_recipe("fast", base=str(tiny_base), epochs=1, batch_size=32, precision="float32", student=SHAPE)
    job = TrainJob(train=(SAMPLE / "train.csv",), out=tmp_path / "fast", recipe=recipe, keep_encoder=True)
    assert train(job) == 0
    assert (tmp_path / "fast" / "model.onnx").stat().st_size < (tiny_bundle / "model.onnx").stat().st_size
    assert "A student of a fine-tuned" in (tmp_path / "fast" / "MODEL_CARD.md").read_text()
    assert json.loads((tmp_path / "fast" / "bundle.json").read_text())["recipe"]["student"]["width"] == 32
    encoder, tokenizer = load_base(str(tmp_path / "fast-encoder"))
    assert encoder.config.hidden_size == 32
    assert len(tokenizer) == encoder.config.vocab_size
    network = IntentNetwork(encoder, target_id(tokenizer), 0.0).eval()
    restore_head(network, tmp_path / "fast-encoder")
    scorer = Scorer.load(tmp_path / "fast")
    ids = scorer.session_inputs("my parcel is late @Bramblemart, please help", "Bramblemart")["input_ids"]
    with torch.no_grad():
        expected = network.logits(torch.tensor(ids), torch.ones(ids.shape, dtype=torch.long)).numpy()
    (found,) = scorer.session.run(None, session_inputs(scorer.session, ids.tolist()))
    assert abs(found - expected).max() < 0.05  # int8
    again = replace(
        job,
        out=tmp_path / "mean",
        recipe=load_recipe(None, base=str(tmp_path / "fast-encoder"), epochs=0, max_tokens=64),
    )
    assert train(replace(again, averaged=(tmp_path / "fast-encoder",))) == 0
    with pytest.raises(TrainingError, match=r"leave --teacher, pretraining_epochs and \[student\] out"):
        train(replace(again, recipe=again.recipe.model_copy(update={"student": recipe.student})))


def test_spliced_mentions_are_whole_words_of_two_and_the_base_says_what_they_mean(tiny_base: Path) -> None:
    torch.manual_seed(0)
    base, tokenizer, ids = _read(tiny_base)
    recipe = load_recipe(None, student={**SHAPE, "spliced": 0.5})
    assert recipe.student is not None
    tokens = small_tokenizer(tokenizer, ids, 1)
    places = {int(old): new for new, old in enumerate(tokens.base_ids)}
    mentions = [[places[token] for token in one] for one in ids]
    network = IntentNetwork(base, target_id(tokenizer), 0.0)
    imitation = Imitation(network, tokens, recipe.student, 32, mentions)
    batch = padded(mentions[:64], 0)
    labels = torch.full((64, 5), 0.25)
    new_ids, mask, new_labels = imitation.spliced(batch["input_ids"], batch["attention_mask"], labels)
    spliced = (new_labels < 0).all(1)
    assert 16 < spliced.sum() < 48
    assert torch.equal(new_labels[~spliced], labels[~spliced])
    words = {tuple(tokens.tokenizer.convert_ids_to_tokens(one)) for one in mentions[:64]}
    starts = {one[:length] for one in words for length in range(1, len(one))}
    ends = {one[length:] for one in words for length in range(1, len(one))}
    for row, its, new in zip(new_ids, mask, spliced, strict=True):
        told = tuple(tokens.tokenizer.convert_ids_to_tokens(row[: its.sum()].tolist()))
        assert row[its.sum() :].sum() == 0
        if not new:
            assert told in words
            continue
        cuts = [at for at in range(1, len(told)) if told[:at] in starts and told[at:] in ends]
        assert any(not told[at].startswith("##") for at in cuts) or len(told) == batch["input_ids"].shape[1]
        assert (told[0], told[-1]) == ("[CLS]", "[SEP]")

    hidden = torch.zeros(*new_ids.shape, 32)
    assert torch.equal(imitation(hidden, new_ids, mask, new_labels)[1], new_labels)  # the base has said nothing yet
    dev = read_labelled(SAMPLE / "heldout.csv")
    brands, read = Brands.load(SAMPLE / "brands.toml"), Encoder.of(tokens.tokenizer.backend_tokenizer, 64)
    imitation.calibrate(dev, token_ids(dev, read, brands))
    filled = imitation(hidden, new_ids, mask, new_labels)[1]
    assert torch.equal(filled[~spliced], labels[~spliced])
    assert ((filled[spliced] > 0) & (filled[spliced] < 1)).all()
    logits = network.logits(tokens.base_ids[new_ids], mask)
    assert torch.allclose(
        filled, torch.where(new_labels < 0, (imitation.scale * logits + imitation.offset).sigmoid(), labels), atol=1e-5
    )


def test_a_student_that_is_trained_on(tiny_base: Path, tmp_path: Path) -> None:
    full = TrainJob(
        train=(SAMPLE / "train.csv",),
        out=tmp_path / "full",
        recipe=load_recipe(None, base=str(tiny_base), epochs=1, precision="float32"),
        keep_encoder=True,
    )
    assert train(full) == 0
    shape = {**SHAPE, "spliced": 0.5}
    changes = {"base": str(tmp_path / "full-encoder"), "epochs": 1, "batch_size": 32, "precision": "float32"}
    first = replace(full, out=tmp_path / "first", recipe=load_recipe("fast", student=shape, **changes))
    assert train(first) == 0
    begin = {"begin": str(tmp_path / "first-encoder"), "spliced": 0.5}
    second = replace(full, out=tmp_path / "second", recipe=load_recipe("fast", student=begin, **changes))
    assert train(second) == 0
    told = json.loads((tmp_path / "second" / "bundle.json").read_text())["recipe"]
    assert told["student"] | SHAPE == told["student"]
    assert str(tmp_path) not in json.dumps(told)
    assert "another training of its own" in (tmp_path / "second" / "MODEL_CARD.md").read_text()
    before, after = (load_base(str(tmp_path / f"{name}-encoder"))[0].state_dict() for name in ("first", "second"))
    assert before.keys() == after.keys()
    assert not all(torch.equal(weight, after[name]) for name, weight in before.items())
    facts_of = facts(second)
    assert str((tmp_path / "first-encoder" / "model.safetensors").resolve()) in facts_of
    with pytest.raises(TrainingError, match="no firstreply.json there"):
        train(replace(second, recipe=load_recipe("fast", student={"begin": str(tiny_base)}, **changes)))
    with pytest.raises(TrainingError, match="the base says what spliced mentions mean"):
        train(replace(first, recipe=load_recipe("fast", student=shape, **{**changes, "base": str(tiny_base)})))
    with pytest.raises(TrainingError, match=r"leave \[student\] begin and spliced out"):
        cross_validate(first, CrossValidation(folds=2))


def test_a_width_that_heads_cannot_share() -> None:
    with pytest.raises(RecipeError, match="width 30 cannot be shared out among 4 heads"):
        load_recipe(None, student={"width": 30})
