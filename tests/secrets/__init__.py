"""Nothing secret lies in clear anywhere while a real portal works (promise P11)."""
