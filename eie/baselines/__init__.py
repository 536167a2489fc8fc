"""Machines to compare with. `dense` is EIE's own PEs without compression."""
