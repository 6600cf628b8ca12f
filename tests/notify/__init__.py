"""Alerts, the rules that raise them, and the messages that they become."""
