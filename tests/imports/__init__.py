"""Mailboxes from a file, and the doctor over all of them."""
