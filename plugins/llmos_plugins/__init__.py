"""Built-in skills, one folder each. There is none yet."""
