"""Figures of every answer: records in, matplotlib figures out; the only room that imports matplotlib.

Comes in: an answer (`eie.Result`, a sweep, a study). Goes out: figures, PNG and SVG files. Read by the command line.
"""
