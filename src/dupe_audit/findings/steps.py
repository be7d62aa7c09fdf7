"""All findings of preflight, the upgrade, verify and restore: one module per subject, joined in this order.

A new finding goes into the module of its subject, and its id into ``ids.py`` at the same place.
"""

from __future__ import annotations

from dupe_audit.findings.duplicates import DUPLICATES
from dupe_audit.findings.entry import Entry
from dupe_audit.findings.ids import StepId
from dupe_audit.findings.indexes import INDEXES
from dupe_audit.findings.outcome import OUTCOME
from dupe_audit.findings.project import PROJECT
from dupe_audit.findings.session import SESSION
from dupe_audit.findings.surroundings import SURROUNDINGS
from dupe_audit.findings.table import TABLE
from dupe_audit.findings.trees import TREES

STEPS: dict[StepId, Entry] = TABLE | TREES | SESSION | SURROUNDINGS | DUPLICATES | INDEXES | PROJECT | OUTCOME
