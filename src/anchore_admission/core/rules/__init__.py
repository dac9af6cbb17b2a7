"""The rule book: select the rule for an image."""
