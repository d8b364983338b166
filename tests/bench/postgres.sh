#!/usr/bin/env bash
# runlog on PostgreSQL beside PostgreSQL itself: everything in turn on this machine, several rounds, medians of them.
#
#   bash tests/bench/postgres.sh [ROUNDS] [SECONDS]
#
# Starts a cluster and the replicas itself and removes them. `raw` is pgbench on a table like that of the events, with
# two indexes: one row a commit from 64 clients, and 512 rows a commit from as many clients as do best.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

rounds=${1:-3} seconds=${2:-3}
runlog=${RUNLOG:-$PWD/target/release/runlog}
[ -x "$runlog" ] || cargo build --release --locked --quiet
bin=${RUNLOG_TEST_PG_BIN:-$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)}
[ -x "$bin/initdb" ] || { echo "no PostgreSQL: set RUNLOG_TEST_PG_BIN to the directory of initdb" >&2; exit 1; }

directory=$(mktemp -d "${TMPDIR:-/tmp}/runlog-bench-pg-XXXXXX")
replicas=()
stop_replicas() {
    for pid in "${replicas[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
    replicas=()
}
clean_up() {
    stop_replicas
    as_postgres "$bin/pg_ctl" stop -D "$directory/data" -m immediate -s || true
    rm -rf "$directory"
}
as_postgres() { # COMMAND...: PostgreSQL refuses to run as root
    if [ "$(id -u)" = 0 ]; then
        (cd "$directory" && setpriv --reuid=postgres --regid=postgres --clear-groups "$@")
    else
        (cd "$directory" && "$@")
    fi
}
psql() { "$bin/psql" -qAt -h "$directory" -U postgres -v ON_ERROR_STOP=1 "$@"; }

chmod 755 "$directory"
[ "$(id -u)" != 0 ] || chown postgres: "$directory"
trap clean_up EXIT
as_postgres "$bin/initdb" -D "$directory/data" -U postgres -E UTF8 --locale=C -A trust >/dev/null
cat >>"$directory/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$directory'
max_connections = 300
CONF
as_postgres "$bin/pg_ctl" start -D "$directory/data" -l "$directory/log" -w -s

payload="{\"node_name\":\"search_web\",\"phase\":\"end\",\"duration_ms\":890,\"output\":{\"results\":[\"$(printf 'x%.0s' {1..175})\"]}}"
cat >"$directory/single.sql" <<SQL
\\set run random(1, 1000)
\\set seq random(1, 1000000000)
INSERT INTO raw (run, seq, event_id, event_type, payload)
VALUES (:run, :seq, '01890000-0000-8000-8000-000000000000', 'step', '$payload');
SQL
cat >"$directory/batch.sql" <<SQL
\\set run random(1, 1000)
\\set seq random(1, 1000000000)
INSERT INTO raw (run, seq, event_id, event_type, payload)
SELECT 1 + (:run + i) % 1000, :seq + i, '01890000-0000-8000-8000-000000000000', 'step', '$payload'
FROM generate_series(1, 512) i;
SQL

raw() { # CLIENTS SCRIPT: transactions in a second
    psql -d postgres -c "DROP TABLE IF EXISTS raw" -c "CREATE TABLE raw (pos bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        run bigint NOT NULL, seq bigint NOT NULL, recorded timestamptz NOT NULL DEFAULT now(), event_id text NOT NULL,
        event_type text NOT NULL, payload json NOT NULL)" -c "CREATE INDEX raw_run_seq ON raw (run, seq)" 2>/dev/null
    "$bin/pgbench" -n -M prepared -c "$1" -j 2 -T "$seconds" -f "$directory/$2" -h "$directory" -U postgres postgres 2>/dev/null |
        sed -n 's/^tps = \([0-9]*\).*/\1/p'
}

start() { # REPLICAS OPTION...: on a new database; sets `urls`
    local count=$1 database="rl$RANDOM$RANDOM" replica
    shift
    psql -d postgres -c "CREATE DATABASE $database"
    urls=()
    for ((replica = 0; replica < count; replica++)); do
        "$runlog" serve --store "postgres://postgres@${directory//\//%2F}/$database" --listen 127.0.0.1:0 \
            --log-format json "$@" 2>"$directory/replica$replica" &
        replicas+=($!)
        until url=$(grep -o '"address":"[^"]*"' "$directory/replica$replica" | head -n 1 | cut -d '"' -f 4) && [ -n "$url" ]; do
            kill -0 "${replicas[-1]}" || { cat "$directory/replica$replica" >&2; exit 1; }
            sleep 0.05
        done
        case $url in http*) ;; *) url="http://$url" ;; esac
        urls+=("$url")
    done
}

bench() { # FIELD OPTION...: one figure of one workload
    local field=$1
    shift
    "$runlog" bench --time "${seconds}s" --json "$@" | grep -o "\"$field\":[0-9.]*" | cut -d : -f 2
}

both() { # WORKLOAD: one driver for each replica, each with runs of its own; the sum of their rates
    bench events_per_second "$1" --server "${urls[0]}" --connections 2 >"$directory/first" &
    local first=$!
    bench events_per_second "$1" --server "${urls[1]}" --connections 2 >"$directory/second"
    wait "$first"
    echo $(($(cat "$directory/first") + $(cat "$directory/second")))
}

note() { printf '%s\n' "$2" >>"$directory/figure.$1"; }
median() { sort -g "$directory/figure.$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

for ((round = 1; round <= rounds; round++)); do
    echo "round $round of $rounds" >&2
    note raw-single "$(raw 64 single.sql)"
    best=0
    for clients in 1 2 4; do
        rate=$(raw "$clients" batch.sql)
        [ "$rate" -le "$best" ] || best=$rate
    done
    note raw-batch $((best * 512))
    start 1
    for workload in unary-64 unary-256 batch-100; do
        note "$workload" "$(bench events_per_second "$workload" --server "${urls[0]}")"
    done
    stop_replicas
    start 2
    for workload in unary-64 batch-100; do
        note "two-$workload" "$(both "$workload")"
        note "shared-$workload" "$(bench events_per_second "$workload" --server "${urls[0]}" --server "${urls[1]}")"
    done
    for share in p50 p99; do
        note "notify-$share" "$(bench "${share}_ms" delivery --server "${urls[0]}" --subscribe-server "${urls[1]}")"
    done
    stop_replicas
    start 2 --notify=off
    for share in p50 p99; do
        note "poll-$share" "$(bench "${share}_ms" delivery --server "${urls[0]}" --subscribe-server "${urls[1]}")"
    done
    stop_replicas
done

row() { # NAME FIGURE OF: a rate and its ratio to another
    printf '%-52s %10d  %5.2f x %s\n' "$1" "$(median "$2")" \
        "$(awk -v a="$(median "$2")" -v b="$(median "$3")" 'BEGIN { print a / b }')" "$3"
}
printf '%-52s %10s  %s\n' "medians of $rounds rounds of $seconds s" "events/s" "ratio"
row "pgbench, one row a commit, 64 clients" raw-single raw-single
row "unary-64" unary-64 raw-single
row "unary-256" unary-256 raw-single
row "unary, 2 x 64 in flight at two replicas" two-unary-64 unary-64
row "unary-64, two replicas that share all runs" shared-unary-64 unary-64
row "pgbench, 512 rows a commit" raw-batch raw-batch
row "batch-100" batch-100 raw-batch
row "batch-100, 2 x 64 in flight at two replicas" two-batch-100 batch-100
row "batch-100, two replicas that share all runs" shared-batch-100 batch-100
printf '%-52s p50 %s ms, p99 %s ms\n' "publish at one replica, delivery at another" "$(median notify-p50)" "$(median notify-p99)"
printf '%-52s p50 %s ms, p99 %s ms\n' "the same with --notify=off" "$(median poll-p50)" "$(median poll-p99)"
