"""References that are slow, obvious and share nothing with the package: numpy and plain Python only."""

import numpy as np


def encode_pe_column(column, index_bits):
    """Codes and runs of one PE's column (local rows), by walking it."""
    codes, runs, zeros = [], [], 0
    for value in column:
        if value == 0:
            zeros += 1
            continue
        while zeros >= 1 << index_bits:
            codes.append(0)
            runs.append((1 << index_bits) - 1)
            zeros -= 1 << index_bits
        codes.append(int(value))
        runs.append(zeros)
        zeros = 0
    return codes, runs


def encode(codes, n_pe, index_bits, bias=None):
    """Per PE: lists of codes, runs and pointers."""
    columns = [codes[:, j] for j in range(codes.shape[1])]
    if bias is not None:
        columns.append(bias)
    images = []
    for pe in range(n_pe):
        out_codes, out_runs, pointers = [], [], [0]
        for column in columns:
            more_codes, more_runs = encode_pe_column(column[pe::n_pe], index_bits)
            out_codes += more_codes
            out_runs += more_runs
            pointers.append(len(out_codes))
        images.append((out_codes, out_runs, pointers))
    return images


def column_bursts(images, n_pe, burst, rate, entry_bytes=1, pointer_bytes=2):
    """Bytes of every column, and cycles it takes on a bus of ``rate`` bytes a cycle."""
    sizes, cycles = [], []
    for j in range(len(images[0][2]) - 1):
        size = n_pe * pointer_bytes
        for _, _, pointers in images:
            size += (pointers[j + 1] - pointers[j]) * entry_bytes
        while size % burst:
            size += 1
        sizes.append(size)
        cycles.append(max(1, -(-size // rate)))
    return sizes, cycles


def blocks(images, columns, half):
    """The block of every column of a list: a new one where a PE would hold more than ``half`` entries of it."""
    block_of, block, fill = {}, 0, [0] * len(images)
    for j in columns:
        more = [pointers[j + 1] - pointers[j] for _, _, pointers in images]
        if any(have + new > half for have, new in zip(fill, more, strict=True)):
            block, fill = block + 1, [0] * len(images)
        fill = [have + new for have, new in zip(fill, more, strict=True)]
        block_of[j] = block
    return block_of


class Bus:
    """The columns of one input on their way.

    ``active`` are those it reads, ``there`` those that need not come; with ``whole`` all come, with ``held`` no block
    waits for another. ``sizes`` and ``cycles`` are those of `column_bursts`.
    """

    def __init__(self, images, active, *, half, latency, whole, sizes, cycles, there=(), held=False):
        every = range(len(sizes)) if whole else active
        self.come = [j for j in every if j not in there]
        self.block_of = blocks(images, self.come, half)
        self.latency, self.whole, self.held, self.cycles = latency, whole, held, cycles
        self.busy = sum(cycles[j] for j in self.come)
        self.bits = 8 * sum(sizes[j] for j in self.come)

    def arrivals(self, asked, issued):
        """Cycle in which each column has arrived, as far as it can be known; those that were there have 0.

        ``asked`` says when the look-ahead scanner passed a column, ``issued`` when the last slot of one was issued.
        """
        arrived, at = {}, 0
        for j in self.come:
            block = self.block_of[j]
            if self.whole and block == 0:
                arrived[j] = 0
                continue
            if not self.whole and j not in asked:
                break
            request = 1 if self.whole else asked[j]
            if block >= 2 and not self.held:
                left = max((cycle for i, cycle in issued.items() if self.block_of[i] <= block - 2), default=0)
                request = max(request, left + 1)
            at = max(at, request + self.latency - 1) + self.cycles[j]
            arrived[j] = at
        return arrived


def timing(images, active, inputs, n_pe, depth, has_bias, entries_per_row, stream=None):
    """Everything that CYCLES counts for one input, straight from the recurrences; (K, P) tables throughout.

    ``stream`` is None where weights are in place, or the keywords of `Bus`.
    """
    n_rows = -(-inputs // n_pe) + has_bias
    ks = [(int(j), int(j) // n_pe, int(j) % n_pe) for j in np.flatnonzero(active)]
    if has_bias:
        ks.append((inputs, n_rows - 1, 0))
    bus = Bus(images, [j for j, _, _ in ks], **stream) if stream else None
    if not ks:
        zero = np.zeros(n_pe, int)
        return {
            "cycles": max(1 + n_rows, bus.busy, *bus.arrivals({}, {}).values()) if bus else 1 + n_rows,
            "bus": bus.busy if bus else 0,
            "dram_bits": bus.bits if bus else 0,
            "load": zero,
            "stall": 0,
            "dead": n_rows,
            "reads": 0,
            "entries": 0,
            "padding": 0,
            "issue": zero,
            "empty": zero,
            "starved": zero + 1 + n_rows,
        }
    K = len(ks)
    n = np.array([[images[p][2][j + 1] - images[p][2][j] for p in range(n_pe)] for j, _, _ in ks])
    W, r, stall, dead = np.zeros(K, int), np.zeros((K, n_pe), int), 0, 0
    load, asked, issued = np.zeros(n_pe, int), {}, {}
    for k, (_, g, _) in enumerate(ks):
        if k == 0:
            d = g
            first = 2 + d
        else:
            _, g0, lane0 = ks[k - 1]
            d = 0 if g == g0 else g - g0 - (lane0 == n_pe - 1)
            first = W[k - 1] + 1 + d
        dead += d
        W[k] = first
        if k >= depth - 1:
            W[k] = max(first, r[k - (depth - 1)].max() + 1)
        stall += W[k] - first
        there = 0
        if bus:
            asked[ks[k][0]] = 2 + dead + k
            there = bus.arrivals(asked, issued).get(ks[k][0], 0)
        for p in range(n_pe):
            r[k, p] = W[k] + 1
            if k:
                r[k, p] = max(r[k, p], r[k - 1, p] + max(1, n[k - 1, p]))
            load[p] += max(0, there + 1 - r[k, p])
            r[k, p] = max(r[k, p], there + 1)
        if bus and ks[k][0] in bus.block_of:
            issued[ks[k][0]] = (r[k] + np.maximum(1, n[k]) - 1).max()
    _, g, lane = ks[-1]
    tail = n_rows - g - (lane == n_pe - 1)
    free = r[-1] + np.maximum(1, n[-1])
    cycles = max(W[-1] + tail, (free + 5).max())
    if bus:
        cycles = max(cycles, bus.busy, *bus.arrivals(asked, issued).values())
    reads = padding = 0
    for p in range(n_pe):
        held = None
        codes, _, pointers = images[p]
        for j, _, _ in ks:
            for e in range(pointers[j], pointers[j + 1]):
                reads += e // entries_per_row != held
                held = e // entries_per_row
                padding += codes[e] == 0
    issue, empty = n.sum(0), (n == 0).sum(0)
    return {
        "cycles": int(cycles),
        "bus": bus.busy if bus else 0,
        "dram_bits": bus.bits if bus else 0,
        "load": load,
        "stall": int(stall),
        "dead": int(dead + tail),
        "reads": int(reads),
        "entries": int(n.sum()),
        "padding": int(padding),
        "issue": issue,
        "empty": empty,
        "starved": free - issue - empty - load,
    }


def assert_timing(activity, sample, expected):
    """Hold every count of one sample to what `timing` says."""
    assert int(activity.cycles[sample]) == expected["cycles"]
    for ours, theirs in (
        ("stall_cycles", "stall"),
        ("dead_scan_cycles", "dead"),
        ("spmat_reads", "reads"),
        ("entries", "entries"),
        ("padding_entries", "padding"),
    ):
        assert int(activity.counts[ours][sample]) == expected[theirs], ours
    for name in ("issue", "empty", "starved"):
        ours = "empty_column" if name == "empty" else name
        assert activity.per_pe[ours][sample].tolist() == expected[name].tolist(), name


def fixed_point_layer(weights, bias, values, frac_w, frac_a, frac_out, bits, start=None):
    """Pure Python integers: saturating 16-bit (or ``bits``) sums in ascending column order, bias column last.

    ``start``: what the accumulators begin with, in their own format; zero otherwise.
    """
    low, high, shift = -(1 << bits - 1), (1 << bits - 1) - 1, frac_w + frac_a - frac_out

    def quantise(x, frac):
        scaled = float(x) * 2.0**frac
        return int(min(max(np.floor(scaled + 0.5), low), high))

    outputs, clipped = [], 0
    for i in range(weights.shape[0]):
        total = 0 if start is None else quantise(start[i], frac_out)
        terms = [(weights[i, j], values[j]) for j in range(weights.shape[1])]
        if bias is not None:
            terms.append((bias[i], None))
        for w, a in terms:
            # activation 1.0 of the bias column, in the activations' own format
            q = quantise(1.0, frac_a) if a is None else quantise(a, frac_a)
            if w == 0 or q == 0:
                continue
            product = quantise(w, frac_w) * q
            total += (product + (1 << shift - 1 if shift else 0)) >> shift
            if total > high or total < low:
                total, clipped = min(max(total, low), high), clipped + 1
        outputs.append(total)
    return outputs, clipped


def conv2d(x, weights, bias, stride, pads, dilation, groups):
    """(N, C, H, W) by (out, C / groups, kh, kw), multiply by multiply."""
    n, channels, height, width = x.shape
    out, per_group, kh, kw = weights.shape
    top, left, bottom, right = pads
    padded = np.zeros((n, channels, height + top + bottom, width + left + right))
    padded[:, :, top : top + height, left : left + width] = x
    oh = (padded.shape[2] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    ow = (padded.shape[3] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((n, out, oh, ow))
    for o in range(out):
        first = o // (out // groups) * per_group
        for r in range(oh):
            for c in range(ow):
                for i in range(per_group):
                    for u in range(kh):
                        for v in range(kw):
                            row, column = r * stride[0] + u * dilation[0], c * stride[1] + v * dilation[1]
                            y[:, o, r, c] += weights[o, i, u, v] * padded[:, first + i, row, column]
        if bias is not None:
            y[:, o] += bias[o]
    return y


def lstm(x, input_weights, hidden_weights, bias, reverse):
    """(N, T, input) to (N, T, hidden); gates in the order input, forget, cell, output; one unit at a time."""
    n, steps, _ = x.shape
    hidden = hidden_weights.shape[1]
    y = np.zeros((n, steps, hidden))

    def sigmoid(value):
        return 1 / (1 + np.exp(-value))

    for sample in range(n):
        h, c = np.zeros(hidden), np.zeros(hidden)
        for t in range(steps)[:: -1 if reverse else 1]:
            new_h, new_c = np.zeros(hidden), np.zeros(hidden)
            for unit in range(hidden):
                gate = [
                    input_weights[row] @ x[sample, t] + hidden_weights[row] @ h + bias[row]
                    for row in range(unit, 4 * hidden, hidden)
                ]
                new_c[unit] = sigmoid(gate[1]) * c[unit] + sigmoid(gate[0]) * np.tanh(gate[2])
                new_h[unit] = sigmoid(gate[3]) * np.tanh(new_c[unit])
            h, c = new_h, new_c
            y[sample, t] = h
    return y


def pool(x, kernel, stride, pads, reduce):
    """(N, C, H, W): ``reduce`` over the numbers inside the map that each window sees."""
    top, left, bottom, right = pads
    _, _, height, width = x.shape
    rows = range(-top, height + bottom - kernel[0] + 1, stride[0])
    columns = range(-left, width + right - kernel[1] + 1, stride[1])
    y = np.zeros((*x.shape[:2], len(rows), len(columns)))
    for i, r in enumerate(rows):
        for j, c in enumerate(columns):
            window = x[:, :, max(r, 0) : r + kernel[0], max(c, 0) : c + kernel[1]]
            y[:, :, i, j] = reduce(window, axis=(2, 3))
    return y


def least_error(values, k):
    """Least summed squared error of at most k groups of ``values``, by the recurrence over all last groups."""
    values = np.sort(np.asarray(values, float))
    n = len(values)
    costs = np.zeros((n, n))  # of the group from i to j, by Welford's update, which cancels nothing
    for i in range(n):
        mean = 0.0
        for j in range(i, n):
            gap = values[j] - mean
            mean += gap / (j - i + 1)
            costs[i, j] = (costs[i, j - 1] if j > i else 0.0) + gap * (values[j] - mean)
    best = costs[0].copy()
    for _ in range(1, k):
        best = np.array([min([best[j], *(best[:j] + costs[1 : j + 1, j])]) for j in range(n)])
    return best[-1]
