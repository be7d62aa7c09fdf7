"""SQLSTATEs of errors in an expression or an index, for the functions of the script."""

from __future__ import annotations

from dupe_audit.directives.script.quoting import quoted
from dupe_audit.postgres.sqlstates import NAMES_NOT_FOUND, OF_AN_EXPRESSION, QUOTES_VALUES, UNDEFINED_OBJECT
from dupe_audit.preflight.index_trial import OF_ANY_ROW, OF_THE_INDEX, OF_THE_PATH
from dupe_audit.preflight.search_path import RESTRICTED_FROM
from dupe_audit.statements import literal, text_array


def failing_holes() -> dict[str, str]:
    """Return the values for the holes of ``offline_failing.sql``."""
    return {
        "about_expressions": text_array(OF_AN_EXPRESSION),
        "quoting": text_array(QUOTES_VALUES),
        "t_failing_rows": quoted("failing_rows"),
    }


def try_holes() -> dict[str, str]:
    """Return the values for the holes of ``offline_try.sql``."""
    return {
        "about_expressions": text_array(OF_AN_EXPRESSION),
        "of_the_index": text_array(OF_THE_INDEX),
        "of_any_row": text_array(OF_ANY_ROW),
        "of_the_path": text_array(OF_THE_PATH),
        "undefined_object": literal(UNDEFINED_OBJECT),
        "not_found": text_array(NAMES_NOT_FOUND),
        "restricted_from": str(RESTRICTED_FROM),
        "t_path_problems": quoted("path_problems"),
        "t_try_index": quoted("try_index"),
    }
