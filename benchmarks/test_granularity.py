"""What a study of granularities takes on a detector of 3 M weights. ``make bench`` prints it; nothing here is in CI."""

from time import process_time

from yolo import yolo

import eie


def test_granularity_of_a_detector():
    """All default forms on all default machines, kernels compiled beforehand: at most 60 s of processor time.

    The yardstick is the unpruned network on onnxruntime, as the study itself has timed it: its shortest run.
    """
    eie.granularity(yolo(32), ["fine:0.5"], ["dense"])
    network, stages = yolo(), []
    start = process_time()
    study = eie.granularity(network, progress=stages.append)
    seconds = process_time() - start
    weights = sum(layer.matrix.nnz for layer in network.layers)
    run_s = min(study.runs_us(study.unpruned, "measured:dense")) / 1e6
    print(
        f"\neie granularity, {weights / 1e6:.1f} M weights: {seconds:.0f} s of processor time (target 60), "
        f"{seconds / run_s:.0f} times the unpruned network on onnxruntime, {1e3 * run_s:.0f} ms; "
        f"{len(study.found)} forms on {len(study.machines)} machines, {len(stages)} stages told"
    )
