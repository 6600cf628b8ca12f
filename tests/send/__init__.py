"""Sending, reconciling and tracking, against the strict double over mutual TLS."""
