#!/bin/sh
# Chromium from Debian, if it is missing and can be installed; says so if not, and never fails.
if command -v chromium >/dev/null || command -v google-chrome >/dev/null; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "chromium is not here and cannot be installed: tests that open pages skip"
    exit 0
fi
apt-get update -qq
# A font of any kind: a page without one has no widths.
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null ||
    echo "chromium could not be installed: its tests skip"
