#!/usr/bin/env bash
# The tunnels' programs in the tree are made from the C source beside them.
set -euo pipefail
exec bash "${KNET_SOURCE:-$PWD}/scripts/bpf" --check
