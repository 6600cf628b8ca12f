"""The command line, as whoever sets the portal up types it."""
