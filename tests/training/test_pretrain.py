"""Masked-language modelling: what is asked, that only it counts, and that a run resumes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from data.files import read_labelled
from model.brands import Brands
from model.encoding import Encoder
from tests.conftest import SAMPLE
from training.base import BaseModelError, load_base
from training.examples import token_ids
from training.network import add_masks
from training.pretrain import MaskedLanguageModel, MaskTokens, pretrain
from training.recipe import Recipe


def test_fifteen_tokens_in_a_hundred_are_asked_and_no_special_one(tiny_base: Path) -> None:
    _, tokenizer = load_base(str(tiny_base))
    torch.manual_seed(1)
    ids = [2, *range(10, 60), 3]
    batch = MaskTokens(tokenizer)([{"input_ids": ids}, {"input_ids": ids[:20]}] * 200)
    original = torch.tensor([[*ids, 0, 0, 0, 0], [*ids[:20], *[0] * 36]] * 200)
    asked = batch["labels"] != -100
    assert asked.sum() / (50 + 19) / 200 == pytest.approx(0.15, abs=0.01)
    assert torch.equal(batch["labels"][asked], original[asked])
    assert not asked[original < 5].any()
    assert torch.equal(batch["input_ids"][~asked], original[~asked])
    hidden = batch["input_ids"][asked] == tokenizer.mask_token_id
    assert hidden.float().mean() == pytest.approx(0.8, abs=0.03)
    assert torch.equal(batch["attention_mask"], (original != 0).long())


def test_loss_is_cross_entropy_at_the_positions_asked(tiny_base: Path) -> None:
    encoder, _ = load_base(str(tiny_base))
    model = MaskedLanguageModel(encoder).eval()
    ids = torch.arange(10, 30).reshape(2, 10)
    labels = torch.full_like(ids, -100)
    labels[0, 3], labels[1, 7] = 40, 50
    loss = model(ids, torch.ones_like(ids), labels)["loss"]
    hidden = model.transform(encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state)
    scores = hidden @ _embeddings(encoder).T + model.bias
    expected = -(scores[0, 3].log_softmax(-1)[40] + scores[1, 7].log_softmax(-1)[50]) / 2
    assert torch.allclose(loss, expected, atol=1e-5)


def test_pretraining_changes_the_encoder_in_place_and_resumes(tiny_base: Path, tmp_path: Path) -> None:
    encoder, tokenizer = load_base(str(tiny_base))
    add_masks(encoder, tokenizer)
    tokenizer.save_pretrained(tmp_path)
    mentions = read_labelled(SAMPLE / "train.csv")[:64]
    ids = token_ids(mentions, Encoder.load(tmp_path / "tokenizer.json", 48), Brands.load(SAMPLE / "brands.toml"))
    before = _embeddings(encoder)
    recipe = Recipe(pretraining_epochs=2, pretraining_rate=5e-3, batch_size=16, precision="float32")
    pretrain(encoder, tokenizer, ids, recipe, tmp_path / "run")
    after = _embeddings(encoder)
    assert not torch.equal(before, after)
    again, _ = load_base(str(tiny_base))
    add_masks(again, tokenizer)
    pretrain(again, tokenizer, ids, recipe, tmp_path / "run")
    assert torch.equal(_embeddings(again), after)


def _embeddings(encoder: PreTrainedModel) -> torch.Tensor:
    table = encoder.get_input_embeddings()
    assert isinstance(table, torch.nn.Embedding)
    return table.weight.detach().clone()


def test_a_tokenizer_without_a_mask_is_refused(tiny_base: Path) -> None:
    _, tokenizer = load_base(str(tiny_base))
    tokenizer.mask_token = None
    with pytest.raises(BaseModelError, match="no mask token"):
        MaskTokens(tokenizer)
