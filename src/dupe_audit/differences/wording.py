"""How divergent groups are reported: where they differ, by which rule, and with commands that can be pasted."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace

from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.model import CleanupRule, Differences, Expression, Suggestion, UniqueKey

#: columns that a finding names, those that differ in most groups first
_NAMED = 12


def divergent_finding(key: UniqueKey, rule: CleanupRule, differences: Differences, subject: str) -> Finding:
    """Return the finding that a rule refuses divergent groups, with the key, the rule and the columns that differ.

    Args:
        subject: the divergent groups, counted: ``20 of 500 groups``.
    """
    base = finding("divergent-duplicates", subject, table=str(key))
    message = (
        f"{base.message} They differ in {list_counts(differences.columns)}. "
        f"The rule, {describe_rule(rule)}, archives none of them."
    )
    suggestion = f"{suggestion_text(differences.suggestion)} " if differences.suggestion else ""
    command = f"{preflight_command(key, rule)} --samples 5 --show-keys"
    return replace(base, message=message, help=f"{suggestion}Look at them side by side: {command}. {base.help}")


def list_counts(columns: Mapping[str, int]) -> str:
    """Return columns with the number of groups that differ in each: ``updated_at (480 groups), note (1 group)``."""
    parts = [f"{name} ({quantity(groups, 'group')})" for name, groups in columns.items()]
    if len(parts) > _NAMED:
        parts[_NAMED:] = [f"and {quantity(len(parts) - _NAMED, 'more column')}"]
    return ", ".join(parts)


def suggestion_text(suggestion: Suggestion) -> str:
    """Return a suggestion as a sentence, with what to paste into a directive and on the command line."""
    return (
        f"With {suggestion.directive} ({suggestion.options}), {suggestion.exact_groups:,} of "
        f"{quantity(suggestion.divergent_groups, 'divergent group')} would be exact."
    )


def describe_rule(rule: CleanupRule) -> str:
    """Return the parts of a rule that decide what is archived, as the arguments of a directive."""
    order = [f"sa.text({part.sql!r})" if isinstance(part, Expression) else repr(part) for part in rule.order_by]
    merges = [f"{each.column!r}: {f'sa.text({each.how!r})' if each.is_sql else repr(each.how)}" for each in rule.merges]
    parts = [
        f"keep={rule.keep!r}",
        f"order_by=[{', '.join(order)}]" if order else "",
        f"divergent={rule.divergent!r}",
        f"ignore={list(rule.ignore)!r}" if rule.ignore else "",
        f"merge={{{', '.join(merges)}}}" if merges else "",
    ]
    return ", ".join(filter(None, parts))


def preflight_command(key: UniqueKey, rule: CleanupRule) -> str:
    """Return the shell command that examines a key by a rule."""
    words = ["dupe-audit", "preflight", *(["--schema", key.schema] if key.schema else []), "--table", key.table]
    for element in key.columns:
        words += ["-e", element.sql] if isinstance(element, Expression) else ["-c", element]
    words += ["--where", key.where] if key.where else []
    words += ["--nulls-not-distinct"] if key.nulls_not_distinct else []
    words += ["--keep", rule.keep] if rule.keep != "first" else []
    for part in rule.order_by:
        words += ["--order-by", str(part)]
    for name in rule.ignore:
        words += ["--ignore", name]
    return shlex.join(words)
