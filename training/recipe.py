"""How a bundle is trained: one typed file of settings, its defaults, and how a TOML recipe changes them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.errors import FirstreplyError
from training.base import DEFAULT_BASE


class RecipeError(FirstreplyError):
    """A recipe file cannot be read or holds a setting that does not exist."""


class Recipe(BaseModel):
    """Every setting of a training run; a recipe file (TOML) names those that it changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = DEFAULT_BASE
    """Pre-trained encoder: hub id or folder."""
    epochs: Annotated[float, Field(gt=0, le=100)] = 4
    batch_size: Annotated[int, Field(ge=1)] = 32
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
    pretraining_epochs: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Epochs of masked-language modelling on all mentions, labelled or not, before fine-tuning; 0 leaves it out."""
    pretraining_rate: Annotated[float, Field(gt=0, lt=1)] = 3e-4
    """Peak rate of that."""
    patience: Annotated[int, Field(ge=1)] = 2
    """Epochs without a better dev average precision after which training stops."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 13
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 where the hardware multiplies it natively (a GPU, a CPU with AMX), else float32."""


def load_recipe(path: Path | None, **changes: object) -> Recipe:
    """The default recipe with a file's settings, then ``changes`` that are not None, on top.

    Raises:
        RecipeError: unreadable, not TOML, an unknown setting or a value out of range.
    """
    settings: dict[str, object] = {}
    if path is not None:
        try:
            settings = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise RecipeError(f"recipe {path}: {error.strerror or error}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RecipeError(f"recipe {path} is not TOML: {error}") from None
    settings |= {name: value for name, value in changes.items() if value is not None}
    try:
        return Recipe.model_validate(settings)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in problem["loc"])
        known = f"; settings are {', '.join(Recipe.model_fields)}" if problem["type"] == "extra_forbidden" else ""
        raise RecipeError(f"recipe{f' {path}' if path else ''}: {field}: {problem['msg']}{known}") from None
