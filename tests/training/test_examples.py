"""Invented names and extra handles: which mentions get one, and that nothing else changes."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

from data.files import read_labelled
from model.brands import Brands
from model.encoding import Encoder
from model.normalise import OTHER
from tests.conftest import SAMPLE
from training.base import load_base
from training.examples import invented_name, token_ids, varied_ids
from training.network import add_masks
from training.recipe import Recipe

BRANDS = Brands.load(SAMPLE / "brands.toml")


def test_what_must_not_matter_is_varied_and_nothing_else(tiny_base: Path, tmp_path: Path) -> None:
    network, tokenizer = load_base(str(tiny_base))
    add_masks(network, tokenizer)
    tokenizer.save_pretrained(tmp_path)
    encoder = Encoder.load(tmp_path / "tokenizer.json", 512)
    other = tokenizer.convert_tokens_to_ids(OTHER)
    mentions = read_labelled(SAMPLE / "train.csv")
    plain = token_ids(mentions, encoder, BRANDS)
    assert varied_ids(mentions, encoder, BRANDS, Recipe()) == plain
    every = varied_ids(mentions, encoder, BRANDS, Recipe(invented_names=1))
    assert every == varied_ids(mentions, encoder, BRANDS, Recipe(invented_names=1))
    for before, after in zip(plain, every, strict=True):
        assert other not in after
        assert (before == after) == (other not in before)
    some = varied_ids(mentions, encoder, BRANDS, Recipe(invented_names=0.5))
    named = [other not in after for before, after in zip(plain, some, strict=True) if other in before]
    assert 0.3 < sum(named) / len(named) < 0.7
    handled = varied_ids(mentions, encoder, BRANDS, Recipe(extra_handles=1))
    for before, after in zip(plain, handled, strict=True):
        assert after == (before if before[1] == other else [before[0], other, *before[1:]])


def test_names_can_be_spoken() -> None:
    random = Random(2)
    names = {invented_name(random) for _ in range(200)}
    assert len(names) > 150
    assert all(re.fullmatch(r"[A-Z][a-z]{2,12}", name) for name in names)
