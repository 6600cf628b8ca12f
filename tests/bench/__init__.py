"""Measurements: ``make bench``, or ``make bench ARGS="memory pages"``. They print ratios of one run on one machine."""
