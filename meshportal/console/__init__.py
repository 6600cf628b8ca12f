"""The platform's own screens: sign-in, overview, audit."""
