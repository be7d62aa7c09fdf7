"""The text of SQL statements: divided, without comments and strings, and the names and lists in it."""

from __future__ import annotations

import re

from dupe_audit.model import Expression

_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)
      | (?P<body>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
      | (?P<string>\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*')
      | (?P<name>"(?:[^"]|"")*")
      | (?P<end>;)""",
    re.VERBOSE | re.DOTALL,
)
#: an identifier, and a name that may have a schema, as patterns
IDENT = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
NAME = rf"(?:{IDENT}\s*\.\s*)?{IDENT}"

#: statements whose strings can be code
_WITH_CODE = re.compile(
    r"\s*(?:DO|CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE)|SELECT|WITH|CALL)\b", re.IGNORECASE
)

_COLUMN = re.compile(rf"({IDENT})(?:\s+(?:ASC|DESC))?(?:\s+NULLS\s+(?:FIRST|LAST))?", re.IGNORECASE)


def statements(text: str) -> list[tuple[str, str]]:
    """Return each statement without comments and strings, in one line, with the code that it quotes.

    That is what is quoted by dollars, and the strings of statements that execute code or create a function.
    """
    result: list[tuple[str, str]] = []
    statement, bodies, position = "", "", 0
    for token in _TOKEN.finditer(text):
        statement += text[position : token.start()]
        position = token.end()
        if token["name"]:
            statement += token["name"]
        elif token["end"]:
            result.append((" ".join(statement.split()), bodies))
            statement, bodies = "", ""
        else:
            if token["string"] and _WITH_CODE.match(statement):
                bodies += " " + token["string"].lstrip("eE")[1:-1].replace("''", "'")
            bodies += token["body"] or ""
            statement += " " if token["comment"] else "''"
    result.append((" ".join((statement + text[position:]).split()), bodies))
    return [(statement, bodies) for statement, bodies in result if statement]


def unquoted(identifier: str) -> str:
    """Return an identifier as in the catalog."""
    identifier = identifier.strip()
    return identifier[1:-1].replace('""', '"') if identifier.startswith('"') else identifier.lower()


def qualified(name: str) -> tuple[str | None, str]:
    """Return schema and name of a qualified name."""
    parts = [unquoted(part) for part in re.findall(IDENT, name)]
    return (parts[0], parts[1]) if len(parts) > 1 else (None, parts[0])


def parenthesised(text: str) -> tuple[str, str] | None:
    """Return the content of the parentheses at the start of a text, and what follows them."""
    if not text.startswith("("):
        return None
    depth, quoted = 0, False
    for position, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif not quoted:
            depth += (character == "(") - (character == ")")
            if depth == 0:
                return text[1:position], text[position + 1 :].strip()
    return None


def elements(text: str) -> list[str]:
    """Return the parts of a text between commas outside parentheses and quotes."""
    parts, depth, quoted = [""], 0, False
    for character in text:
        quoted ^= character == '"'
        depth += 0 if quoted else (character == "(") - (character == ")")
        if character == "," and depth == 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def split_at_word(text: str, word: str) -> tuple[str, str, str]:
    """Return what comes before a word outside parentheses, the word, and what comes after it."""
    for match in re.finditer(rf"\b(?:{word})\b", text, re.IGNORECASE):
        before = text[: match.start()]
        if before.count("(") == before.count(")"):
            return before, match[0], text[match.end() :]
    return text, "", ""


def is_complete(expression: str) -> bool:
    """Return whether a text is a call or an expression in parentheses, after which nothing follows."""
    match = re.match(rf"(?:{NAME})?\s*(?=\()", expression.strip())
    content = parenthesised(expression.strip()[match.end() :]) if match else None
    return content is not None and not content[1]


def index_elements(text: str) -> tuple[str | Expression, ...] | None:
    """Return the columns and expressions of an index; None if an operator class or a collation follows one."""
    result: list[str | Expression] = []
    for element in elements(text):
        if column := column_list(element):
            result.append(column[0])
        elif is_complete(element):
            result.append(Expression(element))
        else:
            return None
    return tuple(result)


def column_list(text: str) -> tuple[str, ...] | None:
    """Return the columns of a list; None if one is an expression."""
    matches = [_COLUMN.fullmatch(element) for element in elements(text)]
    return tuple(unquoted(match[1]) for match in matches if match) if all(matches) else None
