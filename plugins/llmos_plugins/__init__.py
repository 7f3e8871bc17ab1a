"""Built-in skills, one folder each with a plugin.py; text/ is what several of them need."""
