"""The watched folder of a mailbox: documents put into ``OUT`` in the layout of the MESH client are sent.

``OUT``: whoever sends writes ``NAME.dat``, then ``NAME.ctl``. ``.taking``: what the portal has in hand, named after its row.
``SENT`` and ``FAILED``: both files again, the ``.ctl`` with what became of it. Letters may be small or capital.

Crash table. Files are moved by atomic rename, and rows change by a condition on what they were; so every line ends in one
message at most, and in one place.

=====================================  ==============================  ================================================
the process dies                       what stands                     the next turn
=====================================  ==============================  ================================================
before the row is committed            both files in OUT               finds them as if never seen
after it, before the first rename      row taking, files in OUT        drops the row, finds the files again
between the renames                    row taking, .dat in .taking     takes the .ctl too
after them, while the .dat is read,    row taking, both in .taking     reads again; at most a body that nothing names
before the message is committed                                        stays in the portal's storage
after that commit (the row is queued   row queued, both in .taking     waits for the message's outcome
in the very same one)
after the outcome is committed, while  row placing, some in .taking    goes on: a file that left .taking is in its place,
files are moved to SENT or FAILED      and some in place               the .ctl is written anew
after the last move                    row placing, all in place       closes the row
=====================================  ==============================  ================================================

The ``.ctl`` in ``.taking`` goes last: while it is there, the row is not done. A worker that lost its lease commits nothing;
what it may still move into ``.taking`` stands there without a row, and is told as such.
"""
