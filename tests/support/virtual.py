"""The virtual clock of `pipeline.testing`, for tests that ask for it here."""

from pipeline.testing.virtual import VirtualLoop

__all__ = ["VirtualLoop"]
