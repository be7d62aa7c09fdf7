"""How text is laid out: on a terminal, in a pipe, and in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import IO, Any, cast

from rich.console import Console
from rich.text import Text

#: characters that a terminal would obey or an encoding refuse
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

_TRAILING = re.compile(r"[ \t]+(?=\n)")

#: columns of a line that no line reaches, for programs that read the output
_UNWRAPPED = 100_000


def plain(text: str) -> str:
    """Return text whose control characters and halves of surrogate pairs are replaced by U+FFFD."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


class _Trimmed:
    """A file that receives no blanks at the ends of lines."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(_TRAILING.sub("", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def console(file: IO[str], *, width: int = _UNWRAPPED) -> Console:
    """Return a console for *file*.

    Args:
        file: where the output goes.
        width: of a line if the file is not a terminal; by default no line is wrapped.
    """
    console = Console(file=file, highlight=False)
    return (
        console if console.is_terminal else Console(file=cast("IO[str]", _Trimmed(file)), highlight=False, width=width)
    )


def print_hanging(text: Text, indent: int, out: Console) -> None:
    """Print a paragraph whose lines after the first are indented; outside a terminal it is one line."""
    if not out.is_terminal:
        out.print(text, soft_wrap=True)
        return
    first, *continued = text.wrap(out, max(out.width, indent + 20))
    length = len(first.plain)
    first.rstrip()
    out.print(first, soft_wrap=True)
    if continued:
        remainder = text[length:]
        remainder = remainder[len(remainder.plain) - len(remainder.plain.lstrip()) :]
        for line in remainder.wrap(out, max(out.width - indent, 20)):
            line.rstrip()
            out.print(Text(" " * indent).append_text(line), soft_wrap=True)


def write_markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], file: IO[str]) -> None:
    """Write a table in Markdown."""
    for row in (header, ["---"] * len(header), *rows):
        file.write("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n")
    file.write("\n")
