"""Tuning recipes. There is none yet."""
