"""Measures real workers beside a real Kafka in one situation after another; see `__main__`."""
