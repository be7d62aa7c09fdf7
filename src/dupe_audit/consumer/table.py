"""Read the section of a consumer's file that says where rows are written, and under which key."""

from __future__ import annotations

from typing import Any

from dupe_audit.consumer.config import ColumnMapping, TableSettings
from dupe_audit.consumer.sections import Section
from dupe_audit.errors import WrongUsage
from dupe_audit.model import Expression, UniqueKey


def read_table(section: Section, columns: tuple[ColumnMapping, ...]) -> TableSettings:
    """Return the settings of the section.

    Raises:
        WrongUsage: a name is missing or not valid; the message names the line.
    """
    mapped = {column.name: column for column in columns}
    names = [element for element in _elements(section) if isinstance(element, str)]
    for setting, values in (("key", names), ("ignore", section.texts("ignore", ()))):
        for name in values:
            if name not in mapped:
                section.fail(setting, f"column {name!r} is not in [columns].{Section.suggestion(name, mapped)}")
    for name in names:
        if not mapped[name].required and mapped[name].default is None:
            section.fail(
                "key",
                f"column {name!r} has required = false. A key with NULL equals no other key, "
                "so each delivery would become another row.",
            )
    try:
        settings = TableSettings(
            key=UniqueKey(
                table=section.text("name"),
                schema=section.text("schema", None),
                columns=_elements(section),
                where=section.text("where", None),
                name=section.text("constraint", None),
            ),
            ignore=section.texts("ignore", ()),
            rollout=section.flag("rollout", False),
        )
    except WrongUsage as error:
        if str(error).startswith(section.file.path):
            raise
        section.fail(None, str(error))
    section.reject_unknown()
    return settings


def _elements(section: Section) -> tuple[str | Expression, ...]:
    value = section.raw("key")
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or all(isinstance(item, str) for item in value):
        return section.texts("key")
    return tuple(_element(section, item) for item in value)


def _element(section: Section, item: Any) -> str | Expression:
    if isinstance(item, str):
        return str(item)
    if not isinstance(item, dict) or list(item) != ["expression"]:
        section.fail("key", 'table.key must be a list of columns, in quotes, and of { expression = "…" }.')
    try:
        return Expression(item["expression"])
    except WrongUsage as error:
        section.fail("key", str(error))
