"""The address book: who takes which workflow where, kept true by asking MESH every night (domain notes, lookup cadence).

From above: :mod:`mailboxes.addresses.services` for what people do and for what traffic shows, ``check_soon`` there for reports
that speak of an address, ``watch_hourly`` while a practice switches its system. What follows from another answer is in
:mod:`mailboxes.addresses.changes`.
"""
