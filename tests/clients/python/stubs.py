"""Build step of the package: the stubs of the services, generated from the proto files of this checkout."""

import tempfile
from pathlib import Path
from typing import Any

from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PROTO = Path(__file__).resolve().parents[3] / "proto"


class Stubs(BuildHookInterface):
    """Adds `runlog/v1` to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generates the stubs into a directory outside the checkout."""
        files = sorted(str(path) for path in PROTO.glob("runlog/v1/*.proto"))
        if not files:
            raise FileNotFoundError(f"{PROTO} has no proto files; install from a checkout of runlog")
        self._directory = tempfile.TemporaryDirectory()
        out = self._directory.name
        include = Path(protoc.__file__).parent / "_proto"
        outputs = [f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}"]
        if protoc.main(["protoc", f"-I{PROTO}", f"-I{include}", *outputs, *files]) != 0:
            raise RuntimeError("protoc failed; its message is above")
        build_data["force_include"][f"{out}/runlog/v1"] = "runlog/v1"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Removes the directory."""
        self._directory.cleanup()
