"""What differs between two results, or two sweeps, and where the time went: sides, facts, changes, answer, verb."""
