"""The file layout of the MESH client: control files, and the watched outbox folder."""
