"""The async shell: one owner per piece of state, bounded queues between owners."""
