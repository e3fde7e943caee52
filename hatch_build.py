"""Builds the native pass when the package is built. Where no compiler can, the package is pure Python and says so."""

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativePass(BuildHookInterface):  # type: ignore[type-arg]
    """The hook that hatchling calls before it collects the files of a wheel, or installs the package as editable."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the library beside its sources, and have the wheel hold it."""
        if self.target_name != "wheel":
            return
        reason = runpy.run_path(str(Path(self.root) / "workbench" / "kernel" / "build.py"))["build"]()
        if reason is not None:
            self.app.display_warning(f"the native pass is not built, so JAX's own serves: {reason}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["artifacts"] += ["workbench/kernel/_pass.so", "workbench/kernel/_pass.sha256"]
