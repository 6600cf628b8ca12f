"""Client identities and trust bundles: what MESH recognises us by, and what we recognise MESH by."""
