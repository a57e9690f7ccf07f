"""What a mention is: the fields, their ranges, and how a flat file row or a JSON object becomes one.

Leaves out files (``data.files``) and anything that reads the text (``model``).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)

INTENTS = ("purchase", "churn_risk", "complaint", "praise", "support_question")
"""What a mention can ask of its target brand, in the order used everywhere."""

MAX_BRAND_CHARS = 1_000
"""Longest name of a target brand, in characters."""
MAX_TEXT_BYTES = 100_000
"""Longest text that is scored, in UTF-8 bytes; longer ones are refused."""

AUTHOR_FIELDS = ("followers", "lifetime_value", "purchases", "satisfaction")
MENTION_FIELDS = ("id", "text", "brand", "channel", "created_at", *AUTHOR_FIELDS)
"""The columns of a file of mentions; only ``text`` is required."""
LABELLED_FIELDS = (*MENTION_FIELDS, "brand_key", "source", "stratum", *INTENTS)
_MOST_UNKNOWN = 20
"""Columns that nobody looks at and that are named, at most."""
NATURAL = "natural"
"""The stratum that is a random draw: its figures are those to expect of a brand's own stream."""
OTHER_TARGET = "other_target"
"""Stratum of a post that is labelled again for another brand that it names; its id ends in ``@brand``."""

Label = Literal[0, 1] | None
"""1: asserted, 0: denied, None: not known (never the same as 0)."""


class FirstreplyError(Exception):
    """Root of every error this project raises on purpose; the message says what, where and what to do."""


class FileError(FirstreplyError):
    """A file cannot be read or written as what it should be; the message names the file, and the row and column."""


class MentionError(FirstreplyError):
    """One mention cannot be scored; the others can.

    ``title`` names the kind of problem and stays the same between mentions, ``detail`` says what is wrong with
    this one.
    """

    def __init__(self, title: str, detail: str) -> None:
        super().__init__(f"{title}: {detail}")
        self.title = title
        self.detail = detail

    def __reduce__(self) -> tuple[type[MentionError], tuple[str, str]]:
        return type(self), (self.title, self.detail)


def _text_size(text: str) -> str:
    if not text.strip():
        raise ValueError("text is empty")
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_TEXT_BYTES:
        raise ValueError(f"text is {size:,} bytes long; at most {MAX_TEXT_BYTES:,} are read")
    return text


def _brand_tuple(value: Any) -> Any:
    if value is None:
        return ()
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError("brand must be a string or a list of strings")
    if (longest := max(map(len, value), default=0)) > MAX_BRAND_CHARS:
        raise ValueError(f"a brand's name is {longest:,} characters long; at most {MAX_BRAND_CHARS:,} are read")
    return tuple(dict.fromkeys(item.strip() for item in value if item.strip()))


def _identifier(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("id must be a string or a number")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _timestamp(value: Any) -> Any:
    if value is None or isinstance(value, datetime):
        parsed = value
    elif isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"created_at {value[:40]!r} is not an ISO 8601 time") from None
    else:
        raise ValueError("created_at must be an ISO 8601 string")
    return parsed.replace(tzinfo=UTC) if parsed is not None and parsed.tzinfo is None else parsed


class Author(BaseModel):
    """What is known of who wrote the mention; every field may be missing."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    followers: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Accounts that follow the author, 0 or more."""
    lifetime_value: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """What the author has been worth to the brand, in the business's currency, 0 or more."""
    purchases: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Purchases the author has made, 0 or more."""
    satisfaction: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    """Last known satisfaction, 0 (worst) to 1 (best)."""


class Mention(BaseModel):
    """One public post, with its target brands and what is known of its author."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    id: Annotated[str, BeforeValidator(_identifier), WithJsonSchema({"type": ["string", "number"]})] = ""
    """Comes back with the result; numbers become strings, and by default it is the mention's position from 1."""
    text: Annotated[str, AfterValidator(_text_size)]
    """What was posted, as it was posted: 1 to 100,000 bytes of UTF-8."""
    brand: Annotated[
        tuple[str, ...],
        BeforeValidator(_brand_tuple),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "maxLength": MAX_BRAND_CHARS},
                    {"type": "array", "items": {"type": "string", "maxLength": MAX_BRAND_CHARS}},
                    {"type": "null"},
                ],
            }
        ),
    ] = ()
    """Target brand, or several: each has its own result. By default the first brand whose handle the text names."""
    channel: str | None = None
    """Where it was posted, as the policy's rules name it."""
    created_at: Annotated[
        datetime | None,
        BeforeValidator(_timestamp),
        WithJsonSchema({"type": ["string", "null"], "format": "date-time"}),
    ] = None
    """When it was posted, ISO 8601; without a time zone it is UTC."""
    author: Author = Author()


class LabelledMention(Mention):
    """A mention whose intents are known, in part or in whole."""

    brand_key: str = ""
    source: str = ""
    stratum: str = ""
    labels: tuple[Label, Label, Label, Label, Label] = (None, None, None, None, None)
    """One label per intent, in the order of ``INTENTS``."""

    @property
    def post(self) -> str:
        """Id of the post that the mention is in."""
        return self.id.rpartition("@")[0] if self.stratum == OTHER_TARGET else self.id

    @property
    def is_natural(self) -> bool:
        """Whether it is of the random draw."""
        return self.stratum == NATURAL

    @property
    def is_labelled(self) -> bool:
        """Whether the label of at least one intent is known."""
        return any(label is not None for label in self.labels)

    @property
    def target(self) -> str | None:
        """The brand that the labels are about: the first one given."""
        return self.brand[0] if self.brand else None


def brand_key(name: str) -> str:
    """The normalised name that splits, slices and policy rules go by: ``"@British_Airways"`` → ``"britishairways"``.

    Spellings that differ in case, accents, spaces or punctuation share a key; different names of one brand do so
    only through a brands file.
    """
    folded = name.lower() if name.isascii() else unicodedata.normalize("NFKD", name).casefold()
    if folded.isalnum() and name.isascii():
        return folded
    letters = "".join(ch for ch in folded if ch.isalnum())
    return letters or re.sub(r"\s+", "", folded)


def _reason(error: ValidationError) -> MentionError:
    """The first thing pydantic found, in one line that names the field."""
    problem = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in problem["loc"]) or "mention"
    given = problem.get("input")
    kind = problem["type"]
    if kind == "missing":
        return MentionError("Missing field", f"{field} is required")
    if kind == "extra_forbidden":
        known = AUTHOR_FIELDS if field.startswith("author.") else tuple(Mention.model_fields)
        return MentionError("Unknown field", f"{field} is not a field of a mention; known are {', '.join(known)}")
    if kind == "value_error":
        detail = problem["msg"].removeprefix("Value error, ")
        return MentionError("Invalid mention", detail)
    if kind == "finite_number":
        return MentionError("Invalid mention", f"{field} is {given}; leave it out when it is not known")
    shown = repr(given)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return MentionError("Invalid mention", f"{field}: {problem['msg'][:1].lower()}{problem['msg'][1:]}, not {shown}")


def mention_from_json(value: Any, default_id: str) -> Mention:
    """A mention from one JSON object of the HTTP contract (author nested).

    Raises:
        MentionError: the object is not a mention; the message names the field.
    """
    if not isinstance(value, Mapping):
        raise MentionError("Invalid mention", f"a mention is a JSON object, not {type(value).__name__}")
    try:
        fields = _fields(value, Mention)
        if isinstance(fields.get("author"), Mapping):
            fields["author"] = _fields(fields["author"], Author)
        return Mention.model_validate({"id": default_id, **fields})
    except ValidationError as error:
        raise _reason(error) from None


def mention_from_row(row: Mapping[str, Any], default_id: str) -> Mention:
    """A mention from one flat file row; columns it does not know are left alone, empty cells are missing.

    Numbers may come as strings (CSV). ``brand`` may be a list (JSON) or names joined by ``|``.

    Raises:
        MentionError: the row is not a mention; the message names the column.
    """
    try:
        return Mention.model_validate(_nested(row, default_id))
    except ValidationError as error:
        raise _reason(error) from None


def labelled_from_row(row: Mapping[str, Any], default_id: str) -> LabelledMention:
    """A labelled mention from one flat file row: the mention's columns, the five intents, brand_key, source, stratum.

    Raises:
        MentionError: the row is not a labelled mention; the message names the column.
    """
    labels = tuple(_label(row.get(intent), intent) for intent in INTENTS)
    nested = _nested(row, default_id)
    extra = {name: str(row[name]) for name in ("source", "stratum") if not _is_empty(row.get(name))}
    try:
        mention = LabelledMention.model_validate({**nested, **extra, "labels": labels})
    except ValidationError as error:
        raise _reason(error) from None
    named = row.get("brand_key")
    key = str(named) if not _is_empty(named) else brand_key(mention.target or "")
    return mention.model_copy(update={"brand_key": key})


def labelled_to_row(mention: LabelledMention) -> dict[str, Any]:
    """The flat row that ``labelled_from_row`` reads back as the same labelled mention."""
    return {
        "id": mention.id,
        "text": mention.text,
        "brand": _join_brand(mention.brand),
        "channel": mention.channel,
        "created_at": mention.created_at.isoformat() if mention.created_at else None,
        **{name: getattr(mention.author, name) for name in AUTHOR_FIELDS},
        "brand_key": mention.brand_key or None,
        "source": mention.source or None,
        "stratum": mention.stratum or None,
        **dict(zip(INTENTS, mention.labels, strict=True)),
    }


def unknown_columns(columns: Iterable[str], named: Collection[str] = ()) -> list[str]:
    """Columns that no reader of mentions looks at and that are not ``named`` yet, in their order; 20 with those."""
    unknown = (name for name in columns if name not in LABELLED_FIELDS and name not in named)
    return list(islice(unknown, _MOST_UNKNOWN - len(named)))


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _fields(value: Mapping[str, Any], shape: type[BaseModel]) -> dict[str, Any]:
    """What is given: a null says the same as a missing field; of fields that there are not, one is enough to refuse."""
    known = {name: value[name] for name in shape.model_fields if value.get(name) is not None}
    unknown = (name for name in value if name not in shape.model_fields and value[name] is not None)
    return known | {name: value[name] for name in islice(unknown, 1)}


def _nested(row: Mapping[str, Any], default_id: str) -> dict[str, Any]:
    nested: dict[str, Any] = {"id": default_id}
    for name in ("id", "text", "channel", "created_at"):
        if not _is_empty(row.get(name)):
            nested[name] = row[name]
    if "text" in row and "text" not in nested:
        nested["text"] = ""
    if not _is_empty(row.get("brand")):
        nested["brand"] = _split_brand(row["brand"])
    author = {name: _number(row[name], name) for name in AUTHOR_FIELDS if not _is_empty(row.get(name))}
    return {**nested, "author": author}


def _split_brand(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value.startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value.split("|")


def _join_brand(names: tuple[str, ...]) -> str | None:
    """One cell that ``_split_brand`` takes apart again; JSON where a name has the separator's characters in it."""
    if any("|" in name or name.startswith("[") for name in names):
        return json.dumps(names, ensure_ascii=False)
    return "|".join(names) or None


def _number(value: Any, column: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        raise MentionError("Invalid mention", f"{column} {value[:40]!r} is not a number") from None


def _label(value: Any, intent: str) -> Label:
    if _is_empty(value) or value != value:  # noqa: PLR0124 - NaN is how pandas writes an unknown label
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if number == 1:
        return 1
    if number == 0:
        return 0
    raise MentionError("Invalid label", f"{intent} is {value!r}; a label is 1, 0 or empty (not known)")
