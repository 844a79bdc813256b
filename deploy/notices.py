#!/usr/bin/env python3
"""Writes the licences and notices of what is built into difygate, from the sources that Cargo has.

Usage: deploy/notices.py TARGET-TRIPLE > licenses.txt
Fails if a crate has no text of its own and its licence must not be named by an address.
"""

import collections
import json
import pathlib
import re
import subprocess
import sys

NAMES = re.compile(r"^(licen[sc]e|copying|notice|unlicense|copyright)", re.IGNORECASE)

# Licences that may be named by their address (MPL-2.0, Exhibit A).
WHERE = {"MPL-2.0": "https://mozilla.org/MPL/2.0/"}


def metadata(triple):
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", triple]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def built_in(tree):
    """The packages that difygate is made of, without what only builds or tests need."""
    packages = {package["id"]: package for package in tree["packages"]}
    nodes = {node["id"]: node for node in tree["resolve"]["nodes"]}
    open_ids = [key for key, package in packages.items() if package["name"] == "difygate"]
    found = set(open_ids)
    while open_ids:
        for dependency in nodes[open_ids.pop()]["deps"]:
            is_linked = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if is_linked and dependency["pkg"] not in found:
                found.add(dependency["pkg"])
                open_ids.append(dependency["pkg"])
    others = (packages[key] for key in found if packages[key]["source"])
    return sorted(others, key=lambda package: (package["name"], package["version"]))


def texts(package):
    folder = pathlib.Path(package["manifest_path"]).parent
    files = sorted(path for path in folder.iterdir() if NAMES.match(path.name))
    files += sorted(path for path in (folder / "LICENSES").glob("*") if path.is_file())
    whole = [path.read_text(errors="replace").strip() for path in files if path.is_file()]
    return list(dict.fromkeys(text for text in whole if text))


def texts_of_siblings(package, packages):
    """The texts of crates of the same repository and licence, for one that was packed without its own."""
    def origin(of):
        return (of["repository"], of["license"])

    siblings = [other for other in packages if other["repository"] and origin(other) == origin(package)]
    return list(dict.fromkeys(text for sibling in siblings for text in texts(sibling)))


def main():
    packages = built_in(metadata(sys.argv[1]))
    by_text, bare = collections.defaultdict(list), []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        own = texts(package) or texts_of_siblings(package, packages)
        for text in own:
            by_text[text].append(name)
        if not own:
            bare.append(package)
    print("difygate is made with the crates below. Their sources are at the addresses named.\n")
    for package in packages:
        licence = package["license"] or "see its text"
        address = package["repository"] or package["homepage"] or ""
        print(f"{package['name']} {package['version']}: {licence}. {address}".rstrip())
    if bare:
        print("\nThese come without a text of their own:\n")
        for package in bare:
            authors = ", ".join(package["authors"]) or "its authors"
            licence = package["license"]
            where = WHERE.get(licence) or sys.exit(f"{package['name']}: no text of {licence}")
            print(f"{package['name']} {package['version']}: {licence} ({where}), copyright {authors}")
    for text, names in sorted(by_text.items(), key=lambda item: item[1]):
        print("\n" + "=" * 80 + "\n" + ", ".join(names) + "\n" + "-" * 80 + "\n" + text)


main()
