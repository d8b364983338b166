"""PyPI `schemathesis` against /openapi.json: no 5xx, no undocumented status, no schema violation, over all routes."""

import os
import pathlib
import subprocess
import sys

CHECKS = ",".join(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "unsupported_method",
    ]
)


def main():
    tester = pathlib.Path(sys.executable).with_name("st")
    url = f"http://{sys.argv[1]}/openapi.json"
    command = [tester, "run", url, "--checks", CHECKS, "--max-examples", "25", "--seed", "1", "--workers", "1"]
    # The stream of a run that has not ended stays open; the tester leaves it after a while.
    command += ["--request-timeout", "2", "--phases", "examples,coverage,fuzzing"]
    hooks = {"SCHEMATHESIS_HOOKS": "tester_hooks", "PYTHONPATH": str(pathlib.Path(__file__).parent)}
    sys.exit(subprocess.run(command, check=False, env=os.environ | hooks).returncode)


main()
