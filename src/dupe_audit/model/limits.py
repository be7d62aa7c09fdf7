"""The limits of waits during a migration: how long a statement, a retry or a silent client may hold others up.

Durations are written as PostgreSQL reads them, such as ``500ms`` or ``10min``. What the owner of a revision can set has
its default here; the other limits are fixed.
"""

from __future__ import annotations

#: how long a statement with a strong lock may wait, because the application waits behind it
LOCK_TIMEOUT = "500ms"

#: how long a read of ours may wait for a lock; no statement of the application waits behind it
READ_LOCK_TIMEOUT = "5s"

#: how long one attempt to drop an index or an archive may wait for a lock, if no statement of the application waits
#: behind it
DROP_LOCK_TIMEOUT = "5s"

#: how long to wait for another session that is creating the ledger, which takes an instant
LEDGER_LOCK_TIMEOUT = "10s"

#: total wait for one lock, all tries together, and for rounds of builds
GIVE_UP_AFTER = "10min"

#: the same for dropping our own unfinished index
UNFINISHED_GIVE_UP_AFTER = "30s"

#: the same for a standby that stays too far behind
REPLICA_GIVE_UP_AFTER = "1h"

#: failed builds after which the writers are held, or the upgrade ends
BUILD_ATTEMPTS = 5

#: how long the server keeps a transaction of ours whose client is silent, because it is frozen or gone; after that it
#: ends the session, and with it every lock. A shorter limit of the role or database is kept.
IDLE_LIMIT = "5s"

#: the same while a transaction of ours keeps the writers waiting
HELD_IDLE_LIMIT = "250ms"

#: milliseconds; PostgreSQL keeps a timeout as a signed integer of 32 bits
LONGEST_TIMEOUT = 2**31 - 1
