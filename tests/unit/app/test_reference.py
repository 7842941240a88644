"""app/reference: the customer's pseudonym is HMAC-SHA256, whatever the key's length."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from pipeline.app.reference import customer_reference


@pytest.mark.parametrize("key", ["", "short", "k" * 64, "long" * 40])
def test_it_is_the_hmac_of_the_id_by_the_groups_key(monkeypatch, key) -> None:
    monkeypatch.setenv("HOOKLINE_CUSTOMER_REF_KEY", key)
    expected = hmac.new((key or "hookline:shop").encode(), b"c-1", hashlib.sha256).hexdigest()[:32]
    assert customer_reference("shop")("c-1") == expected
