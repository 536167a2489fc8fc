#!/bin/sh
# Icarus Verilog, Verilator and Yosys from Debian, if they are missing and can be installed; says so if not, and never fails.
if command -v iverilog >/dev/null && command -v verilator >/dev/null && command -v yosys >/dev/null; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "iverilog, verilator and yosys are not all here and cannot be installed: tests that need them skip"
    exit 0
fi
apt-get update -qq
# A package at a time: without the one the other is still of use.
for package in iverilog verilator yosys g++ make; do
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null ||
        echo "$package could not be installed: its tests skip"
done
