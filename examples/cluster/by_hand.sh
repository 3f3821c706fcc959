#!/bin/bash
# One run on several machines without a launcher. On each of them, where node1 is the first one:
#
#   on node1: bash by_hand.sh node1:61500 2 0 [SETTING=VALUE ...]
#   on node2: bash by_hand.sh node1:61500 2 1 [SETTING=VALUE ...]
#
# All see the same folder, and node1 can be reached by the others at that port.

address=$1 processes=$2 process=$3
shift 3

ritz lattice train --coordinator_address="$address" --num_processes="$processes" \
    --process_id="$process" --initialization_timeout=600 --progress=false folder=runs/chain "$@"
