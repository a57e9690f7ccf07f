"""The HTTP reference: the endpoint's own OpenAPI document as Markdown, made when the site is built.

Leaves out what it says, which stands where the endpoint is described (``serving.contract``, ``serving.app``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from data.schema import INTENTS
from model.bundle import DEFAULT_BUNDLE
from model.policy import Policy
from model.scorer import Scorer
from model.triage import Triage
from serving.app import Service, create_app
from serving.live import Live

MARKER = "<!-- the endpoint's OpenAPI document -->"

Schema = Mapping[str, Any]


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put the reference in the marker's place."""
    return markdown.replace(MARKER, reference(document())) if MARKER in markdown else markdown


def document() -> dict[str, Any]:
    """The OpenAPI document of a server as it is without options."""
    triage = Triage(Scorer.load(DEFAULT_BUNDLE), Policy.load(None))
    return create_app(Service(Live(lambda _: triage, Path()))).openapi()


def reference(api: Schema) -> str:
    """Markdown of all operations, then of all types, each with an anchor of its lower-case name."""
    operations = [
        part
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
        for part in _operation(path, method, operation)
    ]
    types = [part for name, schema in api["components"]["schemas"].items() for part in _type(name, schema)]
    return "\n\n".join(["## Addresses", *operations, "## Types", *types])


def _operation(path: str, method: str, operation: Schema) -> Iterable[str]:
    yield f"### {method.upper()} {path}"
    yield f"{operation['summary'].rstrip('.?')}. {operation.get('description', '')}"
    if "security" in operation:
        yield "Asks for a key (`Authorization: Bearer KEY`) where the server has keys."
    if parameters := operation.get("parameters"):
        yield _table(
            ("parameter", "in", "value", "what"),
            ((f"`{one['name']}`", one["in"], _value(one["schema"]), one["description"]) for one in parameters),
        )
    if body := operation.get("requestBody"):
        for media_type, content in body["content"].items():
            yield f"Body: `{media_type}`, {_value(content['schema'])}."
            yield from _examples(content)
    yield _table(
        ("status", "what", "body"),
        (
            (status, answer["description"], _body(answer.get("content", {})))
            for status, answer in operation["responses"].items()
        ),
    )
    for status, answer in operation["responses"].items():
        for content in answer.get("content", {}).values():
            if "example" in content:
                yield f"A {status}:"
                yield _json(content["example"])


def _examples(content: Schema) -> Iterable[str]:
    for name, example in content.get("examples", {}).items():
        yield f"Example, {name}:"
        yield _json(example["value"])


def _body(content: Schema) -> str:
    return ", ".join(
        f"`{media_type}`" + (f": {_value(one['schema'])}" if one.get("schema") else "")
        for media_type, one in content.items()
    )


def _type(name: str, schema: Schema) -> Iterable[str]:
    yield f"### {name}"
    yield schema.get("description", "")
    required = schema.get("required", ())
    yield _table(
        ("field", "value", "what"),
        (
            (f"`{field}`", _value(one), _said(one, field in required))
            for field, one in schema.get("properties", {}).items()
        ),
    )


def _said(schema: Schema, required: bool) -> str:
    default = schema.get("default")
    end = "Required." if required else f"Default `{json.dumps(default)}`." if isinstance(default, bool) else ""
    return f"{schema.get('description', '')} {end}"


def _value(schema: Schema) -> str:
    """What a value is, in words, types by name."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if options := schema.get("anyOf"):
        return " or ".join(_value(option) for option in options)
    if choices := schema.get("enum"):
        return "intent" if tuple(choices) == INTENTS else " or ".join(f"`{choice}`" for choice in choices)
    kind = schema.get("type", "anything")
    return " or ".join(_plain(one, schema) for one in ([kind] if isinstance(kind, str) else kind))


def _plain(kind: str, schema: Schema) -> str:
    """What a value of one JSON type is."""
    if parts := schema.get("prefixItems"):
        return "list of " + " and ".join(_value(part) for part in parts)
    if kind == "array":
        return f"list of {_value(schema['items'])}{_bounds(kind, schema)}"
    if kind == "object" and isinstance(values := schema.get("additionalProperties"), Mapping):
        return f"object ({_value(schema.get('propertyNames', {'type': 'string'}))} → {_value(values)})"
    if kind == "string" and schema.get("format") == "date-time":
        return "time (ISO 8601)"
    return f"{kind}{_bounds(kind, schema)}"


def _bounds(kind: str, schema: Schema) -> str:
    """The range of a number, or of how many items or characters there may be."""
    unit = {"array": "items", "string": "characters"}.get(kind, "")
    words = [
        f"{word} {schema[key]:,}"
        for word, keys in (
            ("above", ("exclusiveMinimum",)),
            ("at least", ("minimum", "minItems", "minLength")),
            ("at most", ("maximum", "maxItems", "maxLength")),
        )
        for key in keys
        if key in schema
    ]
    return f" ({', '.join(words)}{' ' + unit if unit else ''})" if words else ""


def _json(value: Any) -> str:
    return f"```json\n{json.dumps(value, indent=2)}\n```"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [[" ".join(cell.replace("|", "\\|").split()) for cell in line] for line in (head, *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], ["---"] * len(head), *lines[1:]])
