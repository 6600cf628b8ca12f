"""Tests of the house: what review would forget."""
