"""Seeding: fill tables of a scratch database with generated rows, including duplicates, from the catalog alone."""

from dupe_audit.seeding.duplicates import ALL, Shape
from dupe_audit.seeding.fill import fill
from dupe_audit.seeding.satisfy import CannotFill

__all__ = ["ALL", "CannotFill", "Shape", "fill"]
