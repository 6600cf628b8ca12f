"""Warnings that reach a person: alerts, who is told of them and how. Imports no domain app; apps register kinds and rules."""
