"""Generates clients from `/openapi.json`, compiles them, and runs a program of this directory with each, all against one server.

    clients.py BASE-URL-OR-ADDRESS [node=PROGRAM] [go=PROGRAM] [java=JAR]

`java` is the jar with the annotations of `javax.annotation`; openapi-generator needs a `java` in the path, so that its clients are
left out without it. Everything is written to the directory `openapi` below the working directory.
"""

import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
BIN = pathlib.Path(sys.executable).parent
BASE = sys.argv[1] if "://" in sys.argv[1] else f"http://{sys.argv[1]}"
TOOLS = dict(argument.split("=", 1) for argument in sys.argv[2:])
OUT = pathlib.Path.cwd() / "openapi"
DOCUMENT = OUT / "openapi.json"
NO_TESTS = "apiTests=false,modelTests=false,apiDocs=false,modelDocs=false"


def run(*command, cwd=OUT, **environment):
    command = [str(part) for part in command]
    ran = subprocess.run(command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise RuntimeError(f"{' '.join(command)[:300]}\n{ran.stdout[-6000:]}\n{ran.stderr[-6000:]}")


def generate(generator, to, library=None, **properties):
    """openapi-generator, once for each language."""
    options = ["-g", generator, "-i", DOCUMENT, "-o", to, "--global-property", NO_TESTS]
    options += ["--library", library] if library else []
    options += ["--additional-properties", ",".join(f"{name}={value}" for name, value in properties.items())]
    run(BIN / "openapi-generator-cli", "generate", *options)


def python_of_openapi_generator():
    generate("python", OUT / "python", packageName="openapi_client")
    run(sys.executable, HERE / "python/openapi_generator.py", BASE, PYTHONPATH=str(OUT / "python"))


def openapi_python_client():
    to = OUT / "openapi-python-client/runlog_client"
    to.parent.mkdir()
    run(BIN / "openapi-python-client", "generate", "--path", DOCUMENT, "--output-path", to, "--meta", "none")
    run(sys.executable, HERE / "python/openapi_python_client.py", BASE, PYTHONPATH=str(to.parent))


def typescript():
    """Three clients that one run of the compiler checks."""
    at = OUT / "typescript"
    shutil.copytree(HERE / "typescript", at)
    (at / "node_modules").symlink_to(HERE / "node_modules")
    shutil.copy(DOCUMENT, at)
    shutil.copy(HERE / "package.json", at)
    programs = ["openapi_fetch", "hey_api", "typescript_fetch"]
    run("node_modules/.bin/openapi-typescript", "openapi.json", "-o", "generated/schema.ts", cwd=at)
    run("node_modules/.bin/openapi-ts", cwd=at)
    if "java" in TOOLS:
        generate("typescript-fetch", at / "generated/fetch", importFileExtension=".js")
    else:
        (at / f"{programs.pop()}.ts").unlink()
    run("node_modules/.bin/tsc", "-p", ".", cwd=at)
    for program in programs:
        run(TOOLS["node"], f"out/{program}.js", BASE, cwd=at)


def go():
    """The generated code needs the standard library only. Without prefixes, the enums of the three APIs have equal names."""
    at = OUT / "go"
    generate("go", at / "runlog", enumClassPrefix="true", packageName="runlog")
    for module in ["go.mod", "go.sum"]:
        (at / "runlog" / module).unlink(missing_ok=True)
    (at / "go.mod").write_text("module generated\n\ngo 1.19\n")
    shutil.copy(HERE / "go/main.go", at)
    offline = {"GOPROXY": "off", "GOFLAGS": "-mod=mod", "GOCACHE": str(OUT / "go-cache")}
    run(TOOLS["go"], "build", "-o", "client", ".", cwd=at, **offline)
    run(at / "client", BASE)


def java():
    """Jackson comes from the jar of the generator, which has all modules that the generated code needs."""
    at = OUT / "java"
    plain = {"openApiNullable": "false", "annotationLibrary": "none", "documentationProvider": "none"}
    generate("java", at, library="native", **plain)
    [generator] = BIN.parent.glob("lib/python*/site-packages/openapi_generator_cli/openapi-generator.jar")
    classes = os.pathsep.join([str(at / "classes"), str(generator), TOOLS["java"]])
    sources = sorted((at / "src/main").rglob("*.java")) + [HERE / "java/Client.java"]
    run("javac", "-nowarn", "-d", at / "classes", "-cp", classes, *sources)
    run("java", "-cp", classes, "Client", BASE)


def timed(client):
    began = time.monotonic()
    client()
    return time.monotonic() - began


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    with urllib.request.urlopen(f"{BASE}/openapi.json") as answer:
        DOCUMENT.write_bytes(answer.read())
    clients = [openapi_python_client]
    clients += [typescript] if "node" in TOOLS else []
    if "java" in TOOLS:
        clients += [java, python_of_openapi_generator] + ([go] if "go" in TOOLS else [])
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=3) as pool:
        started = {pool.submit(timed, client): client.__name__ for client in clients}
        for done in concurrent.futures.as_completed(started):
            failure = done.exception()
            failures += failure is not None
            print(f"{started[done]}: {f'FAILED: {failure}' if failure else f'{done.result():.0f} s'}", flush=True)
    sys.exit(failures and 1)


main()
