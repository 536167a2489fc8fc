"""From a network to what every PE's memories hold: `encode` (images), `passes` (capacity), `program` (the file)."""
