"""What is run: sparse matrices, layers, networks and their graph, how layers lower to products, recorded activations.

Comes in: arrays. Goes out: frozen records. Read by importers, compression, the compiler and the simulator.
"""
