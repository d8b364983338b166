#!/usr/bin/env bash
# Measures runlog beside its peers: bash tests/bench/peers/run.sh [--rounds N] [--time SECONDS] [--workloads A,B]
#
# Prints a Markdown table with the medians of all rounds and how runlog stands against its goals; the figures of every
# round go to target/peers/figures.json. All servers run on loopback with their data on the disk that holds target/. Each
# round runs a workload against each system in turn before it goes to the next. The load is the same for all: payloads of
# 260 bytes over 1,000 runs and 4 connections, made by one program in Rust (src/).
#
# | system | a publish of one event | of many | durable when answered |
# |---|---|---|---|
# | runlog | Publish | Publish: all or none | yes: fdatasync |
# | empty  | Publish, decoded and answered by a tonic service that stores nothing: the limit of gRPC here | the same | no |
# | UmaDB  | Append without a condition, the run as a tag | Append: all or none | yes |
# | NATS   | JetStream publish with its ack, file storage, the run as a subject | one publish an event, all acks awaited | no: Debian's version cannot sync before the ack |
# | Redis  | XADD, the run as a key, appendfsync always | XADD in MULTI | yes |
#
# | workload | what |
# |---|---|
# | unary-1, -64, -256 | one event a call, so many calls in flight |
# | batch-16, -100 | so many events of one run a call, 64 calls in flight |
# | stream | one event a message, 4 streams or connections, 1,000 messages of each in flight. UmaDB has no such call |
# | replay | one run of 500,000 events from its first: Subscribe; Read by tag; an ordered push consumer; XRANGE by 1,000 |
# | fanout | one run, 100 subscribers, publishes of 50 as fast as they are answered; deliveries. Subscribe; Subscribe by tag; plain subscriptions beside the stored stream; XREAD BLOCK on a connection each. The empty service copies in memory, and who lags loses events |
# | delivery | the same with 10 subscribers and 1,000 events a second; the time is from before the publish to the delivery |
#
# --smoke runs everything once for a moment, with the debug build of runlog, to see that it works: its figures mean nothing.
# --install only installs the peers. RUNLOG names a program of runlog that is there already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

tools="$PWD/target/tools"
umadb_version=0.7.8
mkdir -p "$tools"

install() { # COMMAND PACKAGE: a Debian package, where the command is missing and we may
    command -v "$1" >/dev/null || { apt_get "$2" && command -v "$1" >/dev/null; }
}

apt_get() { # PACKAGE: needs root
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && apt-get install -y --no-install-recommends "$1"; } >"$tools/apt.log" 2>&1 ||
        { tail -n 20 "$tools/apt.log" >&2; return 1; }
}

get_umadb() { # its server comes in its Python package
    "$tools/umadb/bin/umadb" --version 2>/dev/null | grep -q "$umadb_version" && return
    install python3 python3 || return 1
    # Debian ships python3 without the means to make an environment.
    python3 -m venv "$tools/umadb" >/dev/null 2>&1 ||
        { apt_get python3-venv && python3 -m venv "$tools/umadb"; } || return 1
    "$tools/umadb/bin/pip" install --quiet --disable-pip-version-check "umadb==$umadb_version"
}

peers=()
missing() { # WHAT: without it there is no figure of it
    printf 'SKIPPED: %s: it is not here and cannot be installed\n' "$1" >&2
    [ "${CI:-}" != true ] || exit 1
}
if get_umadb; then peers+=(--umadb "$tools/umadb/bin/umadb"); else missing UmaDB; fi
if install nats-server nats-server; then peers+=(--nats "$(command -v nats-server)"); else missing NATS; fi
if install redis-server redis-server; then peers+=(--redis "$(command -v redis-server)"); else missing Redis; fi
[ "${1:-}" != --install ] || exit 0

profile=release build=(--release) args=("$@")
if [ "${1:-}" = --smoke ]; then
    profile=debug build=() args=(--rounds 1 --time 0.2 --replay-events 3000)
fi
runlog=${RUNLOG:-$PWD/target/$profile/runlog}
[ -n "${RUNLOG:-}" ] || cargo build --locked --quiet "${build[@]}"
CARGO_TARGET_DIR=target/peers cargo build --locked --quiet "${build[@]}" --manifest-path tests/bench/peers/Cargo.toml
exec "target/peers/$profile/runlog-peers" --runlog "$runlog" --scratch target/peers/scratch --json target/peers/figures.json \
    "${peers[@]}" "${args[@]}"
