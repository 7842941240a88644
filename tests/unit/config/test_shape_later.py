"""What the configuration reference has and this release has not is refused with its reason, never ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder


def test_a_default_of_the_reference_is_accepted(folder: Folder) -> None:
    folder.add("journeys/welcome.yaml", "    after: []\n    join: all\n    ordering: none\n    formerly: []\n")
    folder.add(
        "journeys/welcome.yaml",
        "formerly: []\nrollout: 100%\nholdout: 0%\ncancel_on: []\non_failure: {alert: []}\n",
    )
    folder.add("destinations/crm.yaml", "proxy: none\nretain_excerpt: 0B\nauth: none\nsign: none\ntls: {}\n")
    folder.change("destinations/crm.yaml", "/notes}", "/notes, query: {}, response: {}, batch: none}")
    folder.add("hookline.yaml", "identity: {}\nquiet_hours: []\nalerts: {}\n")
    folder.add("hookline.yaml", "consent: {table_lag_max: 30s, skew: 5m}\n")
    assert folder.load().destinations["crm"].auth is None
