#!/bin/sh
# Checks protocol version 1 with both clients, in Python and in Node.
#
#   run.sh [--throttling] [--slow] FRONT_DOOR [GATEWAY GATEWAY]
#
# The front door is checked with everybody at it, and two gateways each with the
# other people at the other. All are http://host:port or ws://host:port. GET /get_user
# is asked at the front door. With all three, some 600 accounts are made and 30 logins
# fail on purpose, 100 with --throttling: to run this often, CREATIONS_PER_ADDRESS and
# LOGIN_FAILURES_PER_ADDRESS of the accounts service have to be higher than by default.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
options=
for argument; do # the options come first
    case $argument in
    --*) options="$options $argument" && shift ;;
    esac
done
if [ $# -ne 1 ] && [ $# -ne 3 ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
[ -d "$here/node_modules/ws" ] || (cd "$here" && npm ci --prefer-offline --no-audit --no-fund)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

http=$(echo "$1" | sed 's/^ws/http/')

# check ENTRY PEER: runs both clients side by side. False when one found something.
check() {
    # shellcheck disable=SC2086 # the options are words of their own
    {
        /usr/bin/python3 "$here/v1.py" $options --http "$http" "$1" "$2" >"$out/python" 2>&1 &
        python=$!
        node "$here/v1.mjs" $options --http "$http" "$1" "$2" >"$out/node" 2>&1 &
        node=$!
    }
    passed=true
    wait $python || passed=false
    wait $node || passed=false
    echo "== Python: $1, others at $2"
    cat "$out/python"
    echo "== Node: $1, others at $2"
    cat "$out/node"
    $passed
}

result=0
check "$1" "$1" || result=1
if [ $# -eq 3 ]; then
    check "$2" "$3" || result=1
    check "$3" "$2" || result=1
fi
exit $result
