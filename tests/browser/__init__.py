"""The portal as a person meets it: gunicorn, hashed static files, a real Chromium."""
