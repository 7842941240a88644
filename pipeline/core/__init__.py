"""Pure decisions: no await, clock, chance, logging or I/O. Time, chance and identity come in as arguments."""
