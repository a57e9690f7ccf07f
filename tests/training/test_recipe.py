"""Recipes: the named ones, files that extend them, and what is said of a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from firstreply import main
from training.recipe import Recipe, RecipeError, load_recipe, recipe_names, recipe_toml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "epoch.*settings are base, epochs"),
        ("epochs = -1", "epochs.*greater than or equal to 0"),
        ("epochs = [", "not TOML"),
    ],
)
def test_recipe_with_a_mistake(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(tmp_path / "recipe.toml")


def test_recipe_file_and_options_on_top(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("epochs = 2\nbatch_size = 8\n")
    recipe = load_recipe(tmp_path / "recipe.toml", epochs=5, seed=None)
    assert (recipe.epochs, recipe.batch_size, recipe.seed) == (5, 8, 13)


def test_named_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert load_recipe("default") == load_recipe(None) == Recipe()
    quick, best = load_recipe("quick"), load_recipe("best")
    assert quick.epochs < Recipe().epochs < best.epochs
    assert main(["train", "--recipe", "list"]) == 0
    shown = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    described = capsys.readouterr().out
    for name in recipe_names():
        assert f"{name}: " in shown
        assert name in described


def test_a_file_extends_a_named_recipe_or_another_file(tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_text('about = "ours"\nextends = "best"\nepochs = 7\n')
    (tmp_path / "mine.toml").write_text('extends = "ours.toml"\nseed = 5\n')
    expected = load_recipe("best").model_copy(update={"epochs": 7, "seed": 5})
    assert load_recipe(tmp_path / "mine.toml") == expected


def test_recipes_that_extend_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('extends = "b.toml"')
    (tmp_path / "b.toml").write_text('extends = "a.toml"')
    with pytest.raises(RecipeError, match="extends itself"):
        load_recipe(tmp_path / "a.toml")


def test_unknown_name() -> None:
    with pytest.raises(RecipeError, match="recipe bets: .*best, default, fast, quick"):
        load_recipe("bets")


@pytest.mark.parametrize("name", [None, *recipe_names()])
def test_a_recipe_is_the_same_after_a_record_of_a_run(name: str | None) -> None:
    recipe = load_recipe(name)
    written = recipe.model_dump_json()
    assert Recipe.model_validate_json(written).model_dump_json() == written


def test_a_written_recipe_is_read_back(tmp_path: Path) -> None:
    recipe = Recipe(base='a "b"\\c', learning_rate=1.25e-5, source_weights={"x.y": 0.5, "é": 2})
    (tmp_path / "written.toml").write_text(recipe_toml(recipe, "tried"), encoding="utf-8")
    assert load_recipe(tmp_path / "written.toml") == recipe
