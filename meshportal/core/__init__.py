"""Ground that every app stands on: sealed fields, payload storage, the lease, keyset pages, CSV."""
