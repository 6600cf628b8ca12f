"""The page classes, the tags, the words."""
