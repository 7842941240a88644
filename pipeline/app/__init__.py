"""Composition roots: every object is built by hand here."""
