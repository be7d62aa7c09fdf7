"""What a revision asks for: seven Alembic operations, each with its reverse. ``online`` and ``script`` execute them."""

from dupe_audit.directives.operations.constraints import (
    UNKNOWN,
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
)
from dupe_audit.directives.operations.indexes import CreateUniqueIndexOnlineOp, DropUniqueIndexOnlineOp
from dupe_audit.directives.operations.rows import AmendDuplicatesOp, ArchiveDuplicatesOp, RestoreDuplicatesOp

__all__ = [
    "UNKNOWN",
    "AmendDuplicatesOp",
    "ArchiveDuplicatesOp",
    "CreateUniqueConstraintOnlineOp",
    "CreateUniqueIndexOnlineOp",
    "DropUniqueConstraintOnlineOp",
    "DropUniqueIndexOnlineOp",
    "RestoreDuplicatesOp",
]
