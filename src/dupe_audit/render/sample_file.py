"""Samples in a private file, in the format that its suffix names."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dupe_audit.errors import DupeAuditError, WrongUsage
from dupe_audit.model import DuplicateReport
from dupe_audit.render import samples
from dupe_audit.render.objects import dump, samples_json

#: the format of each suffix
SUFFIXES = {".csv": "csv", ".json": "json", ".md": "markdown", ".markdown": "markdown", ".txt": "text"}


def check_file(file: Path) -> None:
    """Refuse a file whose format is not known, or that exists.

    Raises:
        WrongUsage: it cannot be written; the message says what to do.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise WrongUsage(
            f"The format of {str(file)!r} is unknown. Choose a name that ends with one of: {', '.join(SUFFIXES)}."
        )
    if os.path.lexists(file):
        raise WrongUsage(f"{str(file)!r} exists and was not overwritten. Remove it, or choose another name.")
    if not file.parent.is_dir():
        raise WrongUsage(f"The directory {str(file.parent)!r} does not exist. Create it, or choose another one.")


def write_file(reports: Sequence[DuplicateReport], file: Path, *, single: bool) -> None:
    """Write the samples of reports into a new file that only its owner can read.

    Args:
        single: whether JSON is one object instead of a list with one object per key.

    Raises:
        WrongUsage: the file exists.
        DupeAuditError: it could not be written.
    """
    text = _text(reports, SUFFIXES[file.suffix.lower()], single=single)
    try:
        # Exclusive: neither a file that has appeared since nor the target of a link is overwritten.
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        check_file(file)
        raise
    except OSError as error:
        raise DupeAuditError(f"Samples could not be written to {str(file)!r}: {error.strerror}.") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="") as out:
            out.write(text)
    except OSError as error:
        with suppress(OSError):
            file.unlink()
        raise DupeAuditError(f"Samples could not be written to {str(file)!r}: {error.strerror}.") from error


def _text(reports: Sequence[DuplicateReport], style: str, *, single: bool) -> str:
    out = io.StringIO(newline="")
    if style == "json":
        objects = [samples_json(report) for report in reports]
        dump(objects[0] if single else objects, out)
    elif style == "csv":
        samples.csv(reports, out)
    else:
        for report in reports:
            out.write(f"### {report.key}\n\n" if style == "markdown" else f"{report.key}\n")
            for number, sample in enumerate(report.samples, 1):
                (samples.markdown if style == "markdown" else samples.text)(sample, number, out)
            out.write("" if style == "markdown" else "\n")
    return out.getvalue()
