"""Many machines, one model."""
