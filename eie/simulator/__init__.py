"""Three engines, one truth: `functional` computes the numbers, `events` and `fast` say when things happen."""
