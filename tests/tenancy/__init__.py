"""Nobody sees another team's anything (promise P8)."""
