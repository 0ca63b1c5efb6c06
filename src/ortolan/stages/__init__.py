"""One module = one stage. A stage imports nothing of Ortolan but ``stages.lib``; see docs/stages.md."""
