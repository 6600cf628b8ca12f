"""The official mesh-client and mesh-sandbox at the other end."""
