"""Fakes and receivers: product code that passes the contract tests of the real parts."""
