"""How a bundle is trained: one typed file of settings, its defaults, and how a TOML recipe changes them."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model.errors import FirstreplyError
from training.base import DEFAULT_BASE


class RecipeError(FirstreplyError):
    """A recipe file cannot be read or holds a setting that does not exist."""


class Student(BaseModel):
    """A small encoder that learns from the base (``training.student``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: Annotated[int, Field(ge=1, le=24)] = 3
    width: Annotated[int, Field(ge=16)] = 256
    """Of the hidden states; a multiple of ``heads``."""
    heads: Annotated[int, Field(ge=1)] = 4
    feed_forward: Annotated[int, Field(ge=16)] = 1024
    """Width inside the feed-forward parts."""
    rarest: Annotated[int, Field(ge=1)] = 2
    """Tokens that occur less often in the training mentions are read in smaller pieces."""
    states: Annotated[float, Field(ge=0)] = 1.0
    """Weight in the loss of how far its states are from the base's."""
    spliced: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the mentions in whose place, each time, a new one stands: the start of one and the end of another, with
    the base's probabilities. It needs a base that ``train --keep-encoder`` kept."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Inside the encoder, in training."""
    begin: str = ""
    """A student of the same base that ``train --keep-encoder`` kept, to train on from; shape and tokens are its own."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be shared out among {self.heads} heads")
        return self


class Recipe(BaseModel):
    """Every setting of a training run; a recipe file (TOML) names those that it changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = DEFAULT_BASE
    """Pre-trained encoder: hub id or folder."""
    epochs: Annotated[float, Field(ge=0, le=100)] = 4.0
    """Passes over the training mentions; 0 makes a bundle of a kept encoder as it is."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Mentions a step, of all processes together."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-4
    """Peak rate of the encoder's last layer, after a linear warm-up, falling linearly to 0."""
    head_rate: Annotated[float, Field(gt=0)] = 10.0
    """The head learns this many times as fast as the encoder: it starts from nothing."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Each layer below the last learns this much slower than the one above it."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the steps in which the rate rises."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout before the head."""
    attention_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout of attention weights inside the encoder; 0 saves a quarter of the time on a CPU."""
    positive_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Class imbalance: a positive weighs (negatives / positives) to this power; 0 is no weighting."""
    max_tokens: Annotated[int, Field(ge=16, le=512)] = 96
    source_weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Weight in the loss of the mentions of a source, by name; 1 where not named."""
    stratum_weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """The same by stratum; a mention has the product of both."""
    distillation: Annotated[float, Field(ge=0, le=1)] = 0.5
    """With teachers: their share in the target of a label that is known; where it is not, they are the target."""
    invented_names: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the mentions that name another brand in which an invented name stands for its mask: brands that the
    brands file does not know are read as words, and only their place in the sentence says that they are others."""
    extra_handles: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the mentions that get somebody's handle in front: whom else a post is sent to changes nothing."""
    pretraining_epochs: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Epochs of masked-language modelling on all mentions, labelled or not, before fine-tuning; 0 leaves it out."""
    pretraining_rate: Annotated[float, Field(gt=0, lt=1)] = 3e-4
    """Peak rate of that."""
    patience: Annotated[int, Field(ge=1)] = 2
    """Epochs without a better dev average precision after which training stops."""
    student: Student | None = None
    """Fine-tune not the base, but a small student of it: a table ``[student]`` with any of its settings."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 13
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 where the hardware multiplies it natively (a GPU, a CPU with AMX), else float32."""


RECIPES = Path(__file__).with_name("recipes")
"""The named recipes, NAME.toml. A recipe file may also say what it is ``about`` and which other it ``extends``."""


def recipe_names() -> list[str]:
    """The named recipes, in alphabetical order."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_recipe(recipe: str | Path | None, **changes: object) -> Recipe:
    """The default recipe with a named recipe's or a file's settings, then ``changes`` that are not None, on top.

    Raises:
        RecipeError: neither a name nor a readable file, not TOML, recipes that extend each other in a circle, an
            unknown setting or a value out of range.
    """
    settings = _settings(recipe, ()) if recipe is not None else {}
    settings |= {name: value for name, value in changes.items() if value is not None}
    try:
        return Recipe.model_validate(settings)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in problem["loc"])
        known = f"; settings are {', '.join(Recipe.model_fields)}" if problem["type"] == "extra_forbidden" else ""
        raise RecipeError(f"recipe{f' {recipe}' if recipe else ''}: {field}: {problem['msg']}{known}") from None


def describe_recipes() -> str:
    """Each named recipe: what it is about, and the settings that it changes."""
    lines = []
    for name in recipe_names():
        settings = _read(RECIPES / f"{name}.toml")
        lines.append(f"{name}: {settings.pop('about')}")
        lines += [f"    {setting} = {_toml(value)}" for setting, value in settings.items()]
    return "\n".join(lines)


def recipe_toml(recipe: Recipe, about: str) -> str:
    """A recipe file of the settings that differ from the defaults, which ``load_recipe`` reads back as the same."""
    changed = recipe.model_dump(exclude_defaults=True)
    return "".join(f"{name} = {_toml(value)}\n" for name, value in {"about": about, **changed}.items())


def _settings(recipe: str | Path, extended_by: tuple[Path, ...]) -> dict[str, object]:
    """A recipe's settings on top of those that it extends; of a table it replaces the whole."""
    path = RECIPES / f"{recipe}.toml" if str(recipe) in recipe_names() else Path(recipe)
    if path.suffix != ".toml" and not path.is_file():
        raise RecipeError(f"recipe {recipe}: there is no such file; named recipes are {', '.join(recipe_names())}")
    if path.resolve() in extended_by:
        raise RecipeError(f"recipe {path} extends itself, by way of others; let one of them extend nothing")
    settings = _read(path)
    settings.pop("about", None)
    base = settings.pop("extends", None)
    if base is None:
        return settings
    if not isinstance(base, str):
        raise RecipeError(f"recipe {path}: extends is the name of a recipe or a file, not {base!r}")
    other = base if base in recipe_names() else path.parent / base
    return _settings(other, (*extended_by, path.resolve())) | settings


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"recipe {path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe {path} is not TOML: {error}") from None


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)  # strings, numbers and booleans are written the same in TOML
