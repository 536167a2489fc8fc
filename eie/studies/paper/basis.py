"""What each cell of the reproduction is: predicted, calibrated, by construction, or compared with a claim in words.

Comes in: the name of a table or figure. Goes out: a sentence. Read by `reproduce`, which puts it under the tables.

*predicted*: nothing in it was fitted to what is printed beside it. *calibrated*: a constant was chosen so that it
agrees. *by construction*: it is the printed figure, or follows from it alone. *textual claim only*: the paper draws
curves whose values are not printed, so that there is nothing but a sentence to hold them against.
"""

from __future__ import annotations

_DRAWN = "textual claim only; the paper prints no values of these curves, ours are predicted."

BASIS = {
    "table2": "mW on Alex-8 calibrated, the mean of nine layers predicted from those prices; um2 and "
    "the chip's mm2, mW and GOP/s by construction; CACTI's um2 predicted.",
    "table3": "weights % and acts % by construction (drawn so), FLOP % predicted; real data as it is.",
    "table4": "theoretical and actual times and their ratio predicted; acts % needed by construction; "
    "the other platforms printed.",
    "table5": "frames/s predicted; mm2 and the 64 PEs' W by construction, the 256 PEs' W calibrated; "
    "frames/s/mm2 and frames/J predicted, from those.",
    "figure6": "EIE's speedups predicted (over the printed CPU times); the other platforms by construction.",
    "figure7": "EIE's efficiencies predicted in time, by construction in power, which is Table II's; "
    "by activity predicted from calibrated prices; the other platforms by construction.",
    "figure8": _DRAWN,
    "figure9": _DRAWN + " The price of a read at 64 bits is calibrated.",
    "figure10": "printed for AlexNet; ours predicted, of other networks.",
    "figure11": _DRAWN,
    "figure12": _DRAWN,
    "figure13": _DRAWN,
    "contradictions": "predicted, by both readings.",
}
