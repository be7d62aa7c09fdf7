"""The question that a command asks before it changes something."""

from __future__ import annotations

import sys

import click

from dupe_audit.errors import Refused, WrongUsage
from dupe_audit.postgres.interrupt import interrupt, interruptible_at_once

yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


def confirm(question: str, *, otherwise: str) -> None:
    """Return if the answer is yes; it is read from the terminal or from a pipe.

    Args:
        question: to be answered with yes or no.
        otherwise: what is not done without a yes, in the past tense.

    Raises:
        Refused: the answer is no.
        WrongUsage: there is neither a terminal nor an answer.
        Interrupted: Ctrl-C or SIGTERM arrived instead of an answer.
    """
    try:
        with interruptible_at_once():
            agreed = click.confirm(question, err=True)
    except (click.Abort, KeyboardInterrupt, RuntimeError):  # the last: standard input is closed
        click.echo(err=True)  # after the question
        interrupt.check(message=f"Interrupted. {otherwise}")
        if sys.stdin is None or not sys.stdin.isatty():
            raise WrongUsage(
                "There is no terminal to ask on, and no answer on standard input. To confirm, add --yes. " + otherwise
            ) from None
        agreed = False  # Ctrl-D
    if not agreed:
        raise Refused([], lead=otherwise)
