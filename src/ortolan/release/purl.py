"""Package URLs of what runtimes lock and devices run (https://github.com/package-url/purl-spec)."""

from __future__ import annotations

from packageurl import PackageURL

_NPM = "npm:"  # what npm's packages are named in a manifest, see runtime/npm.py; the rest is a path in node_modules
_MODULES = "node_modules/"
_ELSEWHERE = {
    "onnxruntime-web": ("npm", None),
    "onnxruntime-android": ("maven", "com.microsoft.onnxruntime"),
    "onnxruntime-c": ("cocoapods", None),
}
"""Packages of ONNX Runtime that are not PyPI's: their registry and namespace."""


def locked(name: str, version: str) -> PackageURL:
    """A package of a lock: PyPI's, or npm's with ``npm:`` before its path."""
    if not name.startswith(_NPM):
        return PackageURL("pypi", None, name, version)
    scope, _, last = name.removeprefix(_NPM).rpartition(_MODULES)[2].rpartition("/")
    return PackageURL("npm", scope or None, last, version)


def on_device(package: str, version: str) -> str:
    """The runtime of a device, where its platform gets packages from."""
    kind, namespace = _ELSEWHERE.get(package, ("pypi", None))
    return PackageURL(kind, namespace, package, version).to_string()
