"""The programs that are killed, and the nursery process that forks them.

``python -m torture.programs`` imports everything once and forks for each order, so that an attempt costs milliseconds.
An order is a line of JSON on stdin; the answers are the child's pid and, after its end, its exit code.
"""

import argparse
import json
import logging
import os
import sys

from alembic import command
from alembic.config import Config

from torture.mutants import MUTANTS
from torture.world import HERE

BATCH_SIZE = 100

log = logging.getLogger("torture")


def config(url: str, application_name: str) -> Config:
    """Return the harness's own Alembic project."""
    alembic = Config(cmd_opts=argparse.Namespace(x=[f"dupe_audit.batch_size={BATCH_SIZE}"]))
    alembic.set_main_option("script_location", str(HERE / "project").replace("%", "%%"))
    alembic.attributes.update(url=url, application_name=application_name)
    return alembic


def run(program: str, url: str, application_name: str) -> None:
    """Run a program to its end."""
    if program == "upgrade":
        command.upgrade(config(url, application_name), "head")
    elif program == "downgrade":
        command.downgrade(config(url, application_name), "base")
    else:
        MUTANTS[program].program(url, application_name)


def _child(order: dict[str, str]) -> None:
    code = 1
    try:
        output = os.open(order.pop("log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
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
        _, status = os.waitpid(pid, 0)
        os.write(1, f"{os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    _nursery()
