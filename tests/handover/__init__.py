"""Handing received messages on."""
