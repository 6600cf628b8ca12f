"""Bringing mailboxes into use."""
