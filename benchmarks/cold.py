"""The command line in a process that has just started, by the clock of the benchmarks.

`python -m benchmarks.cold MOMENT ARGUMENTS…` is `trafficvault ARGUMENTS…` at that moment, and imports what that does.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path

from trafficvault import cli
from trafficvault.clock import SystemClock


def run_cold(moment: datetime, user: str, password: str, *arguments: str) -> None:
    """Starts the command line as `user` and waits for it. Raises `RuntimeError` with what it says when it fails."""
    # Not at the head, nor anything else that the product does not import: the process that is timed imports it too.
    import subprocess
    from tempfile import gettempdir

    command = [sys.executable, "-m", "benchmarks.cold", moment.isoformat(), "--user", user, *arguments]
    # With its bytecode, as an installed program has it, also where the benchmark runs without.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    bytecode = str(Path(gettempdir()) / "trafficvault-bytecode")
    environment = inherited | {"TRAFFICVAULT_PASSWORD": password, "PYTHONPYCACHEPREFIX": bytecode}
    root = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root, env=environment)
    if done.returncode:
        raise RuntimeError(f"running {arguments} as a process: it ended with {done.returncode}:\n{done.stderr[-2000:]}")


class _WithoutPandas:
    """A peer brings it along, and pyarrow would import it: an installation has none."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """Nothing of pandas is found; everything else others find."""
        if fullname == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name=fullname)


def main() -> None:
    """Sets the clock and does what the arguments say."""
    moment = datetime.fromisoformat(sys.argv.pop(1))
    sys.meta_path.insert(0, _WithoutPandas())
    setattr(SystemClock, "now", lambda _: moment)  # noqa: B010 - an assignment to a method is no type
    cli.main()


if __name__ == "__main__":
    main()
