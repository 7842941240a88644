"""Hookline: customer lifecycle events on Kafka become webhook actions, and every one is accounted for.

Read in this order: `run/process.py` (the way of one event), then the stages in `core/` it names, then
`run/follow.py`, `run/dispatch.py`, `run/settle.py` and `run/consume.py`, then what holds the records that wait
(`run/release.py`, `run/turns.py`), then the adapters. `app/worker.py` puts the parts together.
"""

__version__ = "0.1.0"
