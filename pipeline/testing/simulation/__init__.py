"""Simulates fleets under faults: production `run/` and `core/`, a broker and systems in memory, chance from one seed.

Reading order: `drawn` makes a configuration of a number, `world` lets events and `faults` come over a fleet that works
by it, with systems as `weather` has them and customers as `words` has them; `promises` is asked about each request and
at the end whether anything that is promised (docs/guarantees.md) did not hold. `chronicle` tells it to people.
"""
