"""The connection doctor against servers in every bad state."""
