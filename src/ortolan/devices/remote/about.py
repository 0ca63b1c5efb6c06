"""Prints what this machine is as JSON: what preflight.py does not ask. Needs Python 3.8 or newer, nothing else.

    python3 about.py preflight.py       also the facts that ``preflight.py --describe`` prints, as ``facts``
    python3 about.py --root FOLDER      of a copy of /proc, /sys and /etc

What cannot be known is empty, 0 or an empty list; nothing here fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator, Sequence

RELEASES = {
    "35.3.1": "5.1.1", "35.4.1": "5.1.2", "35.5.0": "5.1.3", "35.6.0": "5.1.4", "36.3.0": "6.0", "36.4.0": "6.1",
    "36.4.3": "6.2", "36.4.4": "6.2.1",
}  # fmt: skip
"""JetPack by the release of Jetson Linux (NVIDIA's archive of both)."""
PARTS = {"0xd03": "Cortex-A53", "0xd05": "Cortex-A55", "0xd08": "Cortex-A72", "0xd0b": "Cortex-A76", "0xd42": "Cortex-A78AE"}
"""ARM's processors by their part numbers."""
THROTTLED = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
"""Bits of what a Raspberry Pi's firmware says (vcgencmd get_throttled); 16 higher: since it was started."""
ASK = """
import json, sys
from importlib import metadata
names = [(one.metadata["Name"] or "", one.version) for one in metadata.distributions()]
found = {name: version for name, version in names if name.startswith("onnxruntime")}
print(json.dumps({"version": sys.version.split()[0], "onnxruntime": found}))
"""


class Machine:
    """The files below one root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def text(self, path: str) -> str:
        """A file's text without what ends it; empty where there is none."""
        try:
            return (self.root / path).read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return ""

    def number(self, path: str) -> int:
        """A file that holds a number."""
        text = self.text(path)
        return int(text) if re.fullmatch(r"-?\d+", text) else 0

    def found(self, pattern: str) -> list[Path]:
        """Paths below the root, in the order of the numbers in their names."""
        return sorted(self.root.glob(pattern), key=lambda path: [int(one) for one in re.findall(r"\d+", path.name)])

    def board(self) -> str:
        """By the device tree, else by the firmware."""
        tree = self.text("proc/device-tree/model")
        parts = [self.text(f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name")]
        return tree or " ".join(filter(None, parts))

    def system(self) -> str:
        """As the system calls itself."""
        match = re.search(r'^PRETTY_NAME="?([^"\n]*)"?$', self.text("etc/os-release"), re.MULTILINE)
        return match[1] if match else ""

    def jetson(self) -> dict[str, str]:
        """The release of Jetson Linux and of JetPack."""
        match = re.search(r"# R(\d+) \(release\), REVISION: ([\d.]+)", self.text("etc/nv_tegra_release"))
        linux = f"{match[1]}.{match[2]}" if match else ""
        package = re.search(r"^Package: nvidia-jetpack\n(?:.+\n)*?Version: (\S+)", self.text("var/lib/dpkg/status"), re.MULTILINE)
        return {"linux": linux, "jetpack": package[1] if package else RELEASES.get(linux, "")}

    def processor(self) -> dict[str, Any]:
        """Its name, how many there are, and the highest clock in MHz."""
        text = self.text("proc/cpuinfo")
        match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        parts = sorted(set(re.findall(r"^CPU part\s*:\s*(0x\w+)$", text, re.MULTILINE)))
        named = ", ".join(PARTS.get(one, f"ARM part {one}") for one in parts)
        fastest = max([self.number(f"{one}/cpuinfo_max_freq") for one in self._policies()], default=0)
        return {
            "name": match[1] if match else named or platform.processor(),
            "count": len(re.findall(r"^processor\s*:", text, re.MULTILINE)) or os.cpu_count() or 0,
            "mhz": fastest // 1000,
        }

    def _policies(self) -> list[str]:
        return [str(one.relative_to(self.root)) for one in self.found("sys/devices/system/cpu/cpufreq/policy*")]

    def memory(self) -> dict[str, int]:
        """In bytes."""
        text = self.text("proc/meminfo")
        names = {"total": "MemTotal", "available": "MemAvailable", "swap": "SwapTotal"}
        found = {key: re.search(rf"^{name}:\s*(\d+) kB", text, re.MULTILINE) for key, name in names.items()}
        return {key: int(match[1]) * 1024 if match else 0 for key, match in found.items()}

    def thermal(self) -> list[dict[str, Any]]:
        """The zones that tell a temperature, in degrees Celsius; ``limit``: where the kernel slows down, 0 if unknown."""
        found = []
        for zone in self.found("sys/class/thermal/thermal_zone*"):
            at = str(zone.relative_to(self.root))
            if self.text(f"{at}/temp"):
                limits = [self.number(f"{at}/trip_point_{i}_temp") for i in range(8) if self._slows(at, i)]
                about = {"name": self.text(f"{at}/type"), "celsius": self.number(f"{at}/temp") / 1000}
                found.append({**about, "limit": min(limits, default=0) / 1000})
        return found

    def _slows(self, zone: str, number: int) -> bool:
        return self.text(f"{zone}/trip_point_{number}_type") == "passive"

    def clocks(self) -> list[dict[str, Any]]:
        """Each group of processors with one clock: its governor, and MHz now and at most."""
        return [
            {
                "name": Path(one).name,
                "governor": self.text(f"{one}/scaling_governor"),
                "mhz": self.number(f"{one}/scaling_cur_freq") // 1000,
                "most": self.number(f"{one}/cpuinfo_max_freq") // 1000,
            }
            for one in self._policies()
        ]

    def throttled(self) -> list[str]:
        """What a Raspberry Pi's firmware complains of, now or since it was started."""
        paths = self.found("sys/devices/platform/soc*/soc*firmware/get_throttled")
        text = self.text(str(paths[0].relative_to(self.root))) if paths else ""
        bits = int(text, 16) if re.fullmatch(r"(0x)?[0-9a-fA-F]+", text) else 0
        now = [f"{word} now" for bit, word in THROTTLED.items() if bits >> bit & 1]
        return now + [f"{word} since it was started" for bit, word in THROTTLED.items() if bits >> bit + 16 & 1]


# --- what programs tell ---------------------------------------------------------------------------------------------


def output(command: Sequence[str], seconds: float = 20) -> str:
    """What a program prints; nothing where there is none, or where it fails."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=seconds)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace").strip()


def gpus() -> list[dict[str, str]]:
    """NVIDIA's, by their driver."""
    keys = ("name", "driver", "memory")
    lines = output(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]).splitlines()
    rows = [[cell.strip() for cell in line.split(",")] for line in lines]
    return [dict(zip(keys, row)) for row in rows if len(row) == len(keys)]


def cuda(machine: Machine) -> str:
    """The toolkit's version."""
    try:
        found = json.loads(machine.text("usr/local/cuda/version.json") or "{}").get("cuda", {}).get("version", "")
    except (ValueError, AttributeError):
        found = ""
    match = re.search(r"release ([\d.]+)", output([shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc", "--version"]))
    return str(found) or (match[1] if match else "")


def power() -> str:
    """A Jetson's power mode."""
    match = re.search(r"Power Mode: (\S+)", output(["nvpmodel", "-q"]))
    return match[1] if match else ""


def pythons() -> list[dict[str, Any]]:
    """Interpreters of the usual places, each with the packages of ONNX Runtime that it has."""
    found = []
    for path in _interpreters():
        try:
            told = json.loads(output([path, "-c", ASK]) or "{}")
        except ValueError:
            told = {}
        if told:
            found.append({"path": path, **told})
    return found


def _interpreters() -> Iterator[str]:
    home = Path.home()
    usual = [sys.executable, shutil.which("python3"), "/usr/bin/python3", "/usr/local/bin/python3"]
    own = [str(path) for pattern in ("*/bin/python3", ".*env*/bin/python3") for path in sorted(home.glob(pattern))]
    seen = set()
    for path in [*filter(None, usual), *own][:16]:
        real = str(Path(path).parent.resolve() / Path(path).resolve().name)
        if real not in seen and os.access(path, os.X_OK):
            seen.add(real)
            yield path


def facts(preflight: str) -> Any:
    """What preflight.py says of this device; None when it could not."""
    if not preflight:
        return None
    command = [sys.executable, preflight, "--describe", "--folder", str(Path.home())]
    try:
        return json.loads(output(command, 300))
    except ValueError:
        return None


def main(arguments: Sequence[str]) -> int:
    """Print everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("preflight", nargs="?", default="", help="preflight.py")
    parser.add_argument("--root", type=Path, default=Path("/"), help="where /proc, /sys and /etc are")
    given = parser.parse_args(arguments)
    machine = Machine(given.root)
    print(
        json.dumps(
            {
                "name": platform.node(),
                "board": machine.board(),
                "system": machine.system(),
                "kernel": f"{platform.system()} {platform.release()}",
                "jetson": machine.jetson(),
                "processor": machine.processor(),
                "memory": machine.memory(),
                "python": {"path": sys.executable, "version": platform.python_version()},
                "pythons": pythons(),
                "gpus": gpus(),
                "cuda": cuda(machine),
                "power": power(),
                "thermal": machine.thermal(),
                "clocks": machine.clocks(),
                "throttled": machine.throttled(),
                "facts": facts(given.preflight),
            },
            indent=1,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
