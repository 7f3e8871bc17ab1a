"""The terminal interface. There is none yet."""
