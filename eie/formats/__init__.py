"""Bytes to arrays and records, and back: one module a format; nothing a file says is trusted.

Comes in: paths. Goes out: arrays, parsed text, rows; files written whole or not at all. Read by every room above.
"""
