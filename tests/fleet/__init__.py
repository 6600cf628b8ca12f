"""A whole portal of real processes against the strict double: workers and schedulers that can be killed at any instant."""
