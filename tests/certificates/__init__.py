"""Certificates as people bring them: files made by openssl and keytool, and what becomes of them."""
