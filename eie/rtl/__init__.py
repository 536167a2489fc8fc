"""The accelerator in Verilog: a layer of a program written out as hardware, and run beside the other engines.

Comes in: a `Program` and its inputs. Goes out: a folder of Verilog, memory images and expectations; a `RtlCheck`, what
a Verilog simulator counted beside what the engines count. Called by the command line. docs/rtl.md tells the design.
"""
