"""The loss and the network, against torch's own arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from data.schema import INTENTS
from model.normalise import MASKS
from training.base import BaseModelError, load_base
from training.fit import parameter_groups, positive_weights
from training.network import IntentNetwork, add_masks, masked_loss, target_id
from training.recipe import Recipe
from training.sample import UNKNOWN


def test_loss_is_bce_where_everything_is_known() -> None:
    torch.manual_seed(1)
    logits, labels = torch.randn(7, 5), torch.randint(0, 2, (7, 5)).float()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    assert torch.allclose(masked_loss(logits, labels, torch.ones(5)), expected, atol=1e-6)


def test_unknown_labels_neither_count_nor_teach() -> None:
    torch.manual_seed(2)
    labels = torch.randint(0, 2, (6, 5)).float()
    labels[:, 2] = UNKNOWN
    labels[3] = UNKNOWN
    logits = torch.randn(6, 5, requires_grad=True)
    loss = masked_loss(logits, labels, torch.ones(5))
    known = labels >= 0
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[known], labels[known])
    assert torch.allclose(loss, expected, atol=1e-6)
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad[~known] == 0).all()
    assert (logits.grad[known] != 0).all()


def test_batch_without_labels_has_no_loss() -> None:
    logits = torch.randn(3, 5, requires_grad=True)
    loss = masked_loss(logits, torch.full((3, 5), UNKNOWN), torch.ones(5))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_weight_of_two_counts_a_mention_twice() -> None:
    torch.manual_seed(3)
    logits, labels = torch.randn(2, 5), torch.randint(0, 2, (2, 5)).float()
    twice = masked_loss(logits[[0, 0, 1]], labels[[0, 0, 1]], torch.ones(5))
    weighted = masked_loss(logits, labels, torch.ones(5), torch.tensor([2.0, 1.0]))
    assert torch.allclose(weighted, twice, atol=1e-6)


def test_positive_weights_are_the_ratio_to_a_power() -> None:
    labels = np.array([[1, 1, -1, 0, 0], [0, 1, -1, 0, 1], [0, 0, -1, 0, 0], [0, 0, -1, 0, 0], [0, -1, -1, 0, 0]])
    assert positive_weights(labels, 0.5).tolist() == pytest.approx([2.0, 1.0, 1.0, 1.0, 2.0])
    assert positive_weights(labels, 0.0).tolist() == [1.0] * 5


def test_padding_does_not_change_logits(tiny_base: Path) -> None:
    encoder, tokenizer = load_base(str(tiny_base))
    add_masks(encoder, tokenizer)
    network = IntentNetwork(encoder, target_id(tokenizer), dropout=0.1).eval()
    ids = torch.arange(5, 12).unsqueeze(0)
    padded = torch.cat([ids, torch.zeros(1, 4, dtype=torch.long)], dim=1)
    mask = torch.cat([torch.ones(1, 7), torch.zeros(1, 4)], dim=1).long()
    with torch.no_grad():
        alone = network.logits(ids, torch.ones_like(ids))
        among = network.logits(padded, mask)
    assert alone.shape == (1, len(INTENTS))
    assert torch.allclose(alone, among, atol=1e-5)


def test_masks_are_single_tokens(tiny_base: Path) -> None:
    encoder, tokenizer = load_base(str(tiny_base))
    add_masks(encoder, tokenizer)
    table = encoder.get_input_embeddings()
    assert isinstance(table, torch.nn.Embedding)
    assert table.weight.shape[0] == len(tokenizer)
    for mask in MASKS:
        assert len(tokenizer(f"x {mask} y", add_special_tokens=False)["input_ids"]) == 3


def test_masks_that_are_known_already_are_left_alone(tiny_base: Path, tmp_path: Path) -> None:
    encoder, tokenizer = load_base(str(tiny_base))
    add_masks(encoder, tokenizer)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.01)
    encoder.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, known = load_base(str(tmp_path))
    add_masks(again, known)
    assert len(known) == len(tokenizer)
    for first, second in zip(encoder.parameters(), again.parameters(), strict=True):
        assert torch.equal(first, second)


def test_head_reads_all_tokens_and_the_targets_own(tiny_base: Path) -> None:
    encoder, tokenizer = load_base(str(tiny_base))
    add_masks(encoder, tokenizer)
    target = target_id(tokenizer)
    network = IntentNetwork(encoder, target, dropout=0.0).eval()
    ids = torch.tensor([[2, target, 20, target, 30, 3, 0], [2, 21, 22, 23, 3, 0, 0]])
    mask = (ids > 0).long()
    with torch.no_grad():
        hidden = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = [
            torch.cat([hidden[0, :6].mean(0), hidden[0, [1, 3]].mean(0)]),
            torch.cat([hidden[1, :5].mean(0), torch.zeros(32)]),
        ]
        assert torch.allclose(network.logits(ids, mask), network.head(torch.stack(pooled)), atol=1e-5)


def test_every_parameter_learns_once_and_lower_layers_slower(tiny_base: Path) -> None:
    encoder, tokenizer = load_base(str(tiny_base))
    add_masks(encoder, tokenizer)
    network = IntentNetwork(encoder, target_id(tokenizer), dropout=0.1)
    recipe = Recipe(learning_rate=1e-3, head_rate=10, layer_decay=0.5)
    groups = parameter_groups(network, recipe)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in network.parameters())
    rate_of = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    rates = {name: rate_of[id(parameter)] for name, parameter in network.named_parameters()}
    assert rates["head.weight"] == pytest.approx(1e-2)
    assert rates["encoder.encoder.layer.1.output.dense.weight"] == pytest.approx(1e-3)
    assert rates["encoder.encoder.layer.0.output.dense.weight"] == pytest.approx(5e-4)
    assert rates["encoder.embeddings.word_embeddings.weight"] == pytest.approx(2.5e-4)


def test_missing_base_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match="nowhere.*folder with config.json"):
        load_base(str(tmp_path / "nowhere"))
