#!/usr/bin/env python3
"""Says of what the shipped binary is made, from Cargo.lock and the manifests of its dependencies.

    third_party.py table           THIRD-PARTY.md, to standard output
    third_party.py check           fails when THIRD-PARTY.md is not what `table` prints
    third_party.py texts           the licences' own texts, for the package
    third_party.py sbom            a CycloneDX 1.5 bill of materials, for the package
"""

import json
import pathlib
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = "shoal-cluster"
HEAD = """# Third-party software

The crates that the `shoal` binary is built of on Linux x86-64, beside Shoal's own. `.ci/third_party.py table` writes this
file; `.ci/package.sh` puts the licences' texts and a bill of materials (CycloneDX) beside the binary.

| crate | version | licence | source |
| --- | --- | --- | --- |
"""


def linked():
    """The packages that are linked into the binary, by name and version: those below it by normal dependencies."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"]
    metadata = json.loads(subprocess.check_output(command, cwd=ROOT))
    packages = {package["id"]: package for package in metadata["packages"]}
    edges = {node["id"]: node["deps"] for node in metadata["resolve"]["nodes"]}
    todo = [key for key, package in packages.items() if package["name"] == BINARY]
    seen = set(todo)
    while todo:
        for dependency in edges[todo.pop()]:
            is_linked = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if is_linked and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                todo.append(dependency["pkg"])
    theirs = (packages[key] for key in seen if packages[key]["source"])
    return sorted(theirs, key=lambda package: (package["name"], package["version"]))


def licence(package):
    return package["license"] or "see its source"


def table():
    rows = []
    for package in linked():
        source = package["repository"] or f"https://crates.io/crates/{package['name']}"
        rows.append(f"| {package['name']} | {package['version']} | {licence(package)} | {source} |\n")
    return HEAD + "".join(rows)


def texts():
    parts = []
    for package in linked():
        folder = pathlib.Path(package["manifest_path"]).parent
        names = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE")
        files = sorted(path for path in folder.iterdir() if path.is_file() and path.name.upper().startswith(names))
        parts.append(f"{'=' * 79}\n{package['name']} {package['version']}: {licence(package)}\n")
        parts.extend(f"{'-' * 79}\n{path.read_text(errors='replace').strip()}\n" for path in files)
    return "".join(parts)


def sbom():
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(one["name"], one["version"]): one.get("checksum") for one in lock["package"]}
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    components = []
    for package in linked():
        name, number = package["name"], package["version"]
        component = {
            "type": "library",
            "bom-ref": f"pkg:cargo/{name}@{number}",
            "name": name,
            "version": number,
            "purl": f"pkg:cargo/{name}@{number}",
            "licenses": [{"expression": licence(package).replace("/", " OR ")}],
        }
        if checksum := checksums.get((name, number)):
            component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        components.append(component)
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": "shoal", "name": "shoal", "version": version}},
        "components": components,
    }
    return json.dumps(bill, indent=1) + "\n"


def check():
    written = (ROOT / "THIRD-PARTY.md").read_text()
    if written != table():
        sys.exit("THIRD-PARTY.md is not up to date; write it with `python3 .ci/third_party.py table > THIRD-PARTY.md`")
    return ""


def main():
    tasks = {"table": table, "check": check, "texts": texts, "sbom": sbom}
    if len(sys.argv) != 2 or sys.argv[1] not in tasks:
        sys.exit(__doc__)
    sys.stdout.write(tasks[sys.argv[1]]())


main()
