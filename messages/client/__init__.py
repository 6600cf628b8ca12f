"""Watching the folders of a running MESH client, so that its mailboxes have a history. Nothing there is ever changed."""
