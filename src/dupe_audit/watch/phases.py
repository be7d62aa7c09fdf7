"""Infer the phase of a run from locks, catalog and ledger."""

from __future__ import annotations

from typing import Any

from dupe_audit.postgres.locks import ACCESS_EXCLUSIVE, MODES, SHARE_UPDATE_EXCLUSIVE
from dupe_audit.watch.facts import Phase


def phase_of(worker: Any, run: Any, batches: Any) -> Phase:
    """Infer from locks, catalog and ledger what a session does; the session itself does not report it."""
    if worker.building:
        return "building"
    if run is None:
        return "building" if _waits_for(worker, SHARE_UPDATE_EXCLUSIVE) else "preparing"
    if restores(batches) and not worker.upgrading:
        return "restoring"
    if run.state == "cleaning":
        return "cleaning" if run.staged or only_spared(batches) else "ranking"
    if run.state in ("clean", "failed") or run.building:
        return _constraint_phase(worker, run)
    return _later_phase(worker, run)


def _constraint_phase(worker: Any, run: Any) -> Phase:
    if run.attached:
        return "verifying"
    if run.index_valid or _waits_for(worker, ACCESS_EXCLUSIVE):
        return "attaching"
    if run.index_valid is False:
        # The constraint of a tree becomes valid when the last leaf is attached.
        return "attaching" if run.is_tree else "removing"
    return "building" if run.building and worker.waiting else "preparing"


def _later_phase(worker: Any, run: Any) -> Phase:
    """Infer the phase of a run that is enforced, dropped or restored."""
    if run.state == "enforced":
        dropping: Phase = "dropping" if _waits_for(worker, ACCESS_EXCLUSIVE) else "preparing"
        return "verifying" if worker.upgrading else dropping
    return "preparing" if worker.upgrading else "restoring"


def _waits_for(worker: Any, mode: str) -> bool:
    return MODES.get(worker.wanted) == mode


def restores(batches: Any) -> bool:
    """Return whether the last batch put rows back."""
    return bool(batches and batches.restored)


def only_spared(batches: Any) -> bool:
    """Return whether the last batch could move nothing: its rows are locked, or referenced."""
    return bool(batches and batches.spared and not batches.handled and not batches.restored)
