#!/usr/bin/env bash
source "$(dirname "$0")/lib.sh"
run_etcd_tests "[auth]"
