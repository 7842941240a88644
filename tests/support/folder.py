"""A small configuration folder for tests of commands: one input, one journey, one destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pathlib

HOOKLINE = """\
group: {group}
kafka: {{bootstrap: "{bootstrap}"}}
retry_tiers: [10s, 1m]
events:
  - topic: {topic}
    record: hookline.LifecycleEvent
purposes: [service]
"""

JOURNEY = """\
journey: welcome
status: live
owner: lifecycle@shop.example
goal: Say hello
category: service
basis: contract
trigger:
  events: [signup.completed]
  max_age: 2h
steps:
  - step: hello
    call: crm.note
    kind: update
    payload:
      customer: ${event.customer.id}
"""

DESTINATION = """\
destination: crm
owner: sales@shop.example
base_url: https://crm.example
receives: [identifier]
idempotency: delivery_id
limits: {rate: 10/s}
operations:
  note: {path: /notes}
"""


def write_folder(root: pathlib.Path, group: str, topic: str, bootstrap: str) -> pathlib.Path:
    """Write the folder and return it."""
    for name, text in (
        ("hookline.yaml", HOOKLINE.format(group=group, topic=topic, bootstrap=bootstrap)),
        ("journeys/welcome.yaml", JOURNEY),
        ("destinations/crm.yaml", DESTINATION),
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root
