"""Numbers as Avro and Protocol Buffers write them."""

import pytest
from google.protobuf.internal import encoder

from pipeline.varint import varint


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 1 << 14, (1 << 63) - 1, (1 << 64) - 1])
def test_a_number_is_what_protocol_buffers_make_of_it(number):
    assert varint(number) == encoder._VarintBytes(number)


def test_the_example_of_the_specification():
    assert varint(150) == b"\x96\x01"  # protobuf.dev, "Encoding", "A Simple Message"
