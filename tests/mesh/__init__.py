"""The MESH client against a strict double, a raw socket, and the official sandbox."""
