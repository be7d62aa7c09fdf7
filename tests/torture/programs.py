"""The programs that are killed, and the nursery process that forks them.

``python -m torture.programs`` imports everything once and forks for each order, so that an attempt costs milliseconds.
An order is a line of JSON on stdin; the answers are the child's pid and, after its end, its exit code.
"""

import argparse
import json
import logging
import os
import signal
import sys
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, event

from torture.chaos import phase_of
from torture.mutants import MUTANTS
from torture.nursery import FROZEN
from torture.world import HERE

BATCH_SIZE = 100

#: of a plain key, of a partial one, and of a partial one of a tree; each is the head of its own branch
PLAIN, PARTIAL, PARTIAL_TREE = "one_row_per_key", "one_live_row_per_key", "one_live_row_per_key_of_a_tree"

log = logging.getLogger("torture")


def config(url: str, application_name: str, policy: str, accept: str = "") -> Config:
    """Return the harness's own Alembic project."""
    options = [f"dupe_audit.batch_size={BATCH_SIZE}"] + ([f"dupe_audit.accept={accept}"] if accept else [])
    alembic = Config(cmd_opts=argparse.Namespace(x=options))
    alembic.set_main_option("script_location", str(HERE / "project").replace("%", "%%"))
    alembic.attributes.update(url=url, application_name=application_name, policy=policy)
    return alembic


def run(
    program: str, url: str, application_name: str, direction: str, *, partial: bool, policy: str, tree: bool
) -> None:
    """Run a program to its end; *partial* and *tree* choose the revision, *policy* what happens to the extras."""
    mutant = MUTANTS.get(program)
    if mutant:
        mutant.mutate()
        program = f"{direction}grade"
        if mutant.program:
            mutant.program(url, application_name)
            return
    alembic = config(url, application_name, policy, mutant.accept if mutant else "")
    {"upgrade": command.upgrade, "downgrade": command.downgrade}[program](
        alembic, {"up": (PARTIAL_TREE if tree else PARTIAL) if partial else PLAIN, "down": "base"}[direction]
    )


def freeze(direction: str, phase: str, number: int) -> None:
    """Stop this process after the number-th statement of a phase, before it does anything else."""
    executed = 0

    def after(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal executed
        executed += phase_of(statement, None, direction).startswith(phase)
        if executed == number:
            executed += 1
            os.kill(os.getpid(), signal.SIGSTOP)

    event.listen(Engine, "after_cursor_execute", after)


def _child(order: dict[str, Any]) -> None:
    code = 1
    try:
        output = os.open(order.pop("log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if place := order.pop("freeze"):
            freeze(order["direction"], *place)
        run(**order)
        code = 0
    except BaseException:  # the log has the reason; the exit code only says that there is one
        log.exception("ended by")
    finally:
        logging.shutdown()
        os._exit(code)


def _nursery() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    while line := sys.stdin.readline():
        pid = os.fork()
        if not pid:
            _child(json.loads(line))
        os.write(1, f"{pid}\n".encode())
        while os.WIFSTOPPED(status := os.waitpid(pid, os.WUNTRACED)[1]):
            os.write(1, FROZEN.encode())
        os.write(1, f"{os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    _nursery()
