"""What PEs idle for, by a list of the scanner's state in every cycle; slow, obvious, and from the recurrences alone."""


def idle(encoding, pattern, sample, spec):
    """Return the idle cycles before each PE's last slot by the scanner's state in that cycle; weights are in place."""
    n_pe, depth = spec.n_pe, spec.act_queue_depth
    pointers = encoding.for_all(encoding.pointers)
    own = pattern.positions[pattern.starts[sample] : pattern.starts[sample + 1]].tolist()
    states = {1: "scan"}
    broadcasts, taken, ready = [], [], [0] * n_pe
    counted = {name: [0] * n_pe for name in ("broadcast", "stall", "scan")}
    working = [set() for _ in range(n_pe)]
    cycle, lane, row = 1, -1, 0
    for k, position in enumerate(own):
        while row < position // n_pe:
            # From the last lane the step is free.
            if lane != n_pe - 1:
                cycle += 1
                states[cycle] = "scan"
            row, lane = row + 1, -1
        cycle += 1
        while k >= depth - 1 and cycle <= max(taken[k - depth + 1]):
            states[cycle] = "stall"
            cycle += 1
        states[cycle] = "broadcast"
        lane = position % n_pe
        broadcasts.append(cycle)
        column = min(position, encoding.inputs)
        starts = [max(ready[pe], cycle + 1) for pe in range(n_pe)]
        taken.append(starts)
        for pe in range(n_pe):
            entries = max(1, int(pointers[column + 1, pe] - pointers[column, pe]))
            working[pe].update(range(starts[pe] + 1, starts[pe] + 1 + entries))
            ready[pe] = starts[pe] + entries
    for pe in range(n_pe):
        # Without a broadcast the PEs starve to the end of the scan: cycle 1, and one for each row of zeros.
        last = ready[pe] if own else 1 + encoding.scan_rows
        for at in range(1, last + 1):
            if at not in working[pe]:
                counted[states.get(at, "scan")][pe] += 1
    return counted
