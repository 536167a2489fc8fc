#!/bin/sh
# Icarus Verilog, Verilator and Yosys from Debian, and a free library of cells for Yosys; says so if something cannot be installed,
# and never fails.
cells=/usr/share/qflow/tech/osu018/osu018_stdcells.lib
if command -v iverilog >/dev/null && command -v verilator >/dev/null && command -v yosys >/dev/null && [ -f "$cells" ]; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "iverilog, verilator, yosys and qflow-tech-osu018 are not all here and cannot be installed: tests that need them skip"
    exit 0
fi
apt-get update -qq
# A package at a time: without the one the other is still of use.
for package in iverilog verilator yosys g++ make qflow-tech-osu018; do
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null ||
        echo "$package could not be installed: its tests skip"
done
