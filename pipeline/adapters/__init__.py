"""The only code that touches the world, one door per library."""
