"""The rules by which a quantised graph becomes layers: one file a kind of node."""
