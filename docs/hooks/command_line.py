"""The command line reference: every command's own help as Markdown, made when the site is built.

Leaves out what the options do, which stands where they are defined (``firstreply``).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial

from firstreply import parser

MARKER = "<!-- every command -->"


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put the reference in the marker's place."""
    return markdown.replace(MARKER, reference()) if MARKER in markdown else markdown


def reference() -> str:
    """Markdown of all commands: what each does, how it is called, its options."""
    return "\n\n".join(_described(command) for command in commands(parser()))


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The commands of a parser and those of its groups, in their order."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        for command in group.choices.values():
            yield from commands(command)


def _described(parser: argparse.ArgumentParser) -> str:
    parser.formatter_class = partial(argparse.HelpFormatter, width=100)  # else as wide as whoever builds has it
    usage = parser.format_usage().removeprefix("usage: ").replace("\n" + 7 * " ", "\n").rstrip()
    rows = [_row(action) for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    lines = [f"## {parser.prog}", parser.description or "", f"```text\n{usage}\n```"]
    if rows:
        lines.append("\n".join(["| option | what it does |", "|---|---|", *rows]))
    if parser.epilog:
        lines.append(f"{parser.epilog[0].upper()}{parser.epilog[1:]}.")
    return "\n\n".join(lines)


def _row(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else _value(action)
    called = f"{', '.join(action.option_strings)} {value}".strip()
    what = (action.help or "") % vars(action)
    if action.choices and action.metavar:
        what += f" ({', '.join(map(str, action.choices))})"
    if action.option_strings and action.required:
        what += "; required"
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in (f"`{called}`", what)) + " |"


def _value(action: argparse.Action) -> str:
    name = action.metavar or "|".join(map(str, action.choices or ())) or action.dest.upper()
    return f"{name}…" if action.nargs == "+" else str(name)
