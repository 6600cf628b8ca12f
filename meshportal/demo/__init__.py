"""The demonstration: everything that ``make demo`` starts. Tests use its parts; the portal itself never imports it."""
