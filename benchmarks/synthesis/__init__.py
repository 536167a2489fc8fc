"""Gates of the Verilog's units, as ratios to the paper's configuration: the check of what energy and area scale by."""
