#!/usr/bin/env bash
# build.sh LANGUAGE OUT: makes the stubs and the programs of a language as a user's build would, and in the directory OUT a
# command for each program. README.md beside this file lists what each language needs.
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

readme() { # MARK WORDS: the program of this language in the README, with the address from the command line in place of its own
    sed -n "/^\`\`\`$1\$/,/^\`\`\`\$/p" "$here/../../README.md" | sed '1d;$d' | sed "s|\"[htp:/]*127.0.0.1:7800\"|$2|"
}

go_program() { # NAME: compiles the program on standard input
    mkdir -p "$module/$1"
    # Debian 12 has grpc-go 1.33: NewClient is of 1.63, the package insecure of 1.41, and retries are on since 1.40.
    if [ -d /usr/share/gocode/src/google.golang.org/grpc/credentials/insecure ]; then cat; else
        sed -e '/grpc\/credentials\/insecure"/d' -e 's/grpc\.NewClient(/grpc.Dial(/' \
            -e 's/grpc\.WithTransportCredentials(insecure\.NewCredentials())/grpc.WithInsecure()/'
    fi >"$module/$1/main.go"
    (cd "$module/$1" && go build -o "$out/$1.program" .)
    command_for "$1" env GRPC_GO_RETRY=on "$out/$1.program"
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
    cp follow.py follow_asyncio.py "$out"
    { printf 'import sys\n' && readme python 'sys.argv[1]'; } >"$out/readme.py"
    for name in follow follow_asyncio readme; do
        command_for "$name" env "PYTHONPATH=$out" "$RUNLOG_TEST_PYTHON" -u "$out/$name.py"
    done
    ;;
typescript)
    PATH=$from/node_modules/.bin:$PATH buf generate --output "$out"
    cp package.json ./*.ts "$out"
    readme ts '`http://${process.argv[2]}`' >"$out/readme.ts"
    sed 's/"files": \[/&"readme.ts", /' tsconfig.json >"$out/tsconfig.json"
    ln -sfn "$from/node_modules" "$out/node_modules"
    "$from/node_modules/.bin/tsc" --project "$out"
    for name in grpc_js connect_node readme; do command_for "$name" "$RUNLOG_TEST_NODE" "$out/$name.js"; done
    ;;
go)
    # Debian's packages are found by path, without modules.
    export GO111MODULE=off GOFLAGS=-buildvcs=false GOPATH=$out/path:/usr/share/gocode
    module=$out/path/src/example.com/worker
    buf generate --output "$module"
    go_program follow <main.go
    {
        printf 'package main\nimport (\n"context"\n"fmt"\n"os"\n"google.golang.org/grpc"\n'
        printf '"google.golang.org/grpc/credentials/insecure"\nrunlog "example.com/worker/gen/runlog/v1"\n)\n'
        printf 'func main() {\nctx := context.Background()\n%s\n_ = err\n}\n' "$(readme go 'os.Args[1]')"
    } | go_program readme
    ;;
java)
    buf generate --output "$out"
    mkdir -p "$out/classes" "$out/native"
    find "$out/gen" -name '*.java' >"$out/sources"
    javac -nowarn -Xlint:none -d "$out/classes" -cp "$(jars)" Follow.java "@$out/sources"
    # Debian's Netty does TLS by this library only, and looks for it under the name that others give it.
    cp "$(find /usr/lib -name 'libnetty[-_]tcnative.so' | head -n 1)" "$out/native/libnetty_tcnative.so"
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
