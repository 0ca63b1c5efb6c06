"""Releases: built artifacts as signed bundles that devices fetch, check, install and roll back. Nothing is built here."""
