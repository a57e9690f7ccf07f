"""The brands file: what is refused, which key a spelling has, and which handles belong to a target."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.schema import brand_key
from model.brands import DEFAULT_BRANDS, LONGEST_PREFIX, Brand, Brands, core
from model.errors import BrandsError

BRANDS = Brands.load()


def write(folder: Path, text: str) -> Path:
    path = folder / "brands.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[target", "is not TOML"),
        ("[Target]", "[Target] is not a brand key; write [target]"),
        ("[target]\nname = ['Target']", "target.name: Extra inputs are not permitted; known are names, handles"),
        ("[target]\nnames = 'Target'", "target.names: "),
        ("[target]\nnames = [' ']", "target.names.0: "),
        ("[target]\ncommon_word = 3", "target.common_word: "),
        ("target = 1", "target: "),
        ("[a]\nnames = ['One']\n[b]\naliases = ['ONE!']", "'ONE!' belongs to both [a] and [b]"),
        ("[a]\nhandles = ['one']\n[b]\nhandles = ['@One']", "'@One' belongs to both [a] and [b]"),
        ("[a]\n[b]\nproducts = ['A']", "'A' belongs to both [a] and [b]"),
    ],
)
def test_a_bad_brands_file_is_refused_in_one_line(tmp_path: Path, content: str, problem: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(BrandsError) as caught:
        Brands.load(path)
    assert problem in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_one_that_is_not_utf8_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BrandsError, match="No such file"):
        Brands.load(tmp_path / "nowhere.toml")
    (tmp_path / "latin.toml").write_bytes("[nestl\xe9]".encode("latin-1"))
    with pytest.raises(BrandsError, match="is not TOML"):
        Brands.load(tmp_path / "latin.toml")


def test_a_brand_may_be_listed_by_its_key_alone(tmp_path: Path) -> None:
    brands = Brands.load(write(tmp_path, "[norvane]\n"))
    assert brands.entries == {"norvane": Brand()}
    assert brands.key("Norvane") == "norvane"


def test_the_hash_is_that_of_the_file() -> None:
    assert BRANDS.sha256 == hashlib.sha256(DEFAULT_BRANDS.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Apple", "apple"),
        ("@AppleSupport", "apple"),
        ("AAPL", "apple"),
        ("Apple iPhone X", "apple"),
        ("Ask_WellsFargo", "wellsfargo"),
        ("Marks & Spencer", "marksandspencer"),
        ("M&S", "marksandspencer"),
        ("American Airlines", "american"),
        ("United Airlines customer care", "united"),
        ("AT&T", "att"),
        ("Norvane Travel", "norvanetravel"),
        ("@116450", "116450"),
        ("Nestlé", "nestle"),
        ("!!!", "!!!"),
    ],
)
def test_every_spelling_has_its_key(name: str, key: str) -> None:
    assert BRANDS.key(name) == key
    assert BRANDS.target(name).key == key


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=()), min_size=1).filter(str.strip))
def test_any_name_has_a_key_that_is_its_own(name: str) -> None:
    key = BRANDS.key(name)
    assert key
    assert BRANDS.target(name).key == key
    if key not in BRANDS.entries:
        assert key == brand_key(name)


def test_every_listed_name_leads_to_its_brand() -> None:
    for key, brand in BRANDS.entries.items():
        for name in (key, *brand.names, *brand.aliases, *brand.products, *brand.handles):
            assert BRANDS.key(name) == key, name
        target = BRANDS.target(key)
        assert all(target.owns_handle(handle) for handle in brand.handles)
        assert {brand_key(name) for name in (*brand.names, *brand.aliases, *brand.products)} <= target.surfaces


@pytest.mark.parametrize(
    ("name", "handle", "owned"),
    [
        ("Norvane", "norvane", True),
        ("Norvane", "AskNorvane", True),
        ("Norvane", "Norvane_Support", True),
        ("Norvane", "NorvaneUK", True),
        ("Norvane", "TheOfficialNorvaneIndia", True),
        ("Ask_Norvane", "norvane", True),
        ("Norvane", "NorvaneFan", False),
        ("Norvane", "Nor", False),
        ("Air", "airuk", True),
        ("Air", "airbank", True),
        ("UK", "usa", False),
        ("Help", "ask", False),
        ("__company__", "company", False),
        ("Apple", "madebygoogle", False),
        ("x", "xsupport", False),
    ],
)
def test_a_target_owns_handles_that_differ_in_care_and_market_affixes(name: str, handle: str, owned: bool) -> None:
    assert BRANDS.target(name).owns_handle(handle) is owned


@settings(deadline=None)
@given(st.text("abcdehlmopstuwyk", max_size=60))
def test_taking_affixes_off_leaves_something_and_nothing_more_to_take_off(surface: str) -> None:
    assert core(core(surface)) == core(surface)
    assert bool(core(surface)) == bool(surface)


@pytest.mark.parametrize("name", ["support" * 10_000, "a " * 30_000, "()" * 30_000, "a's" * 20_000])
def test_prefixes_of_a_long_name_stay_few(name: str) -> None:
    assert len(BRANDS.target(name).prefixes) <= 5 * LONGEST_PREFIX
    assert max(map(len, BRANDS.target(name).prefixes)) <= LONGEST_PREFIX


def test_what_stands_between_brackets_is_another_spelling_up_to_a_few() -> None:
    assert BRANDS.target("PlayPort5(PP5)").surfaces == {"playport5pp5", "playport5", "pp5"}
    assert len(BRANDS.target("".join(f"({number})" for number in range(5_000))).surfaces) <= 6


def test_targets_are_the_same_from_any_number_of_threads() -> None:
    names = [f"Brand {number % 50}" for number in range(2_000)]
    shared = Brands({}, "")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda name: (shared.target(name), shared.target(name).prefixes), names))
    assert found == [(Brands({}, "").target(name), Brands({}, "").target(name).prefixes) for name in names]


def test_what_a_target_cuts_out_of_a_hashtag_does_not_depend_on_the_process() -> None:
    code = "from model.brands import Brands; print(Brands.load().target('Apple').hashtag_names)"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(DEFAULT_BRANDS.parents[1])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1
