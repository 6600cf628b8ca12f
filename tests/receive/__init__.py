"""The receive flow and the watch flow, turn by turn, against the strict double over mutual TLS."""
