"""The address book: lookups, drift, alerts, pages."""
