#!/usr/bin/env bash
# build.sh LANGUAGE OUT: makes the stubs and the programs of a language as a user's build would, and in the directory OUT a
# command for each program. The README beside this file lists what each needs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
language=$1 from=$here/$1
mkdir -p "$2"
out=$(cd "$2" && pwd)
cd "$from"

command_for() { # NAME COMMAND...: a command that runs a program
    printf '#!/bin/sh\nexec %s "$@"\n' "${*:2}" >"$out/$1"
    chmod +x "$out/$1"
}

jars() { # a class path of Debian's packages
    local at=/usr/share/java
    echo $at/grpc-{api,context,core,netty,protobuf,protobuf-lite,stub}.jar \
        $at/netty-{buffer,codec,codec-http,codec-http2,codec-socks,common,handler,handler-proxy,resolver,tcnative,transport}.jar \
        $at/{guava,gson,geronimo-annotation-1.3-spec,jsr305,perfmark-api,proto-google-common-protos,protobuf}.jar | tr ' ' :
}

case $language in
python)
    proto=$here/../../proto
    "$RUNLOG_TEST_PYTHON" -m grpc_tools.protoc "-I$proto" "--python_out=$out" "--grpc_python_out=$out" "$proto"/runlog/v1/*.proto
    for name in follow follow_asyncio; do
        command_for "$name" env "PYTHONPATH=$out" "$RUNLOG_TEST_PYTHON" "$from/$name.py"
    done
    ;;
typescript)
    PATH=$from/node_modules/.bin:$PATH buf generate --output "$out"
    cp package.json tsconfig.json ./*.ts "$out"
    ln -sfn "$from/node_modules" "$out/node_modules"
    "$from/node_modules/.bin/tsc" --project "$out"
    for name in grpc_js connect_node; do command_for "$name" "$RUNLOG_TEST_NODE" "$out/$name.js"; done
    ;;
go)
    # Debian's packages are found by path, without modules.
    export GO111MODULE=off GOFLAGS=-buildvcs=false GOPATH=$out/path:/usr/share/gocode
    module=$out/path/src/example.com/worker
    buf generate --output "$module"
    cp main.go "$module"
    (cd "$module" && go build -o "$out/worker" .)
    # Needed before grpc-go 1.40.
    command_for follow env GRPC_GO_RETRY=on "$out/worker"
    ;;
java)
    buf generate --output "$out"
    mkdir -p "$out/classes" "$out/native"
    find "$out/gen" -name '*.java' >"$out/sources"
    javac -nowarn -Xlint:none -d "$out/classes" -cp "$(jars)" Follow.java "@$out/sources"
    # Debian's Netty does TLS by this library only, and looks for it under the name that others give it.
    cp "$(find /usr/lib -name libnetty-tcnative.so | head -n 1)" "$out/native/libnetty_tcnative.so"
    command_for follow java "-Djava.library.path=$out/native" -cp "$out/classes:$(jars)" Follow
    ;;
cpp)
    buf generate --output "$out"
    cp Makefile follow.cc "$out"
    make --silent --jobs=2 --directory="$out"
    ;;
ruby)
    buf generate --output "$out"
    command_for follow ruby "-I$out/gen" "$from/follow.rb"
    ;;
*)
    printf '%s: no program in this language\n' "$language" >&2
    exit 64
    ;;
esac
