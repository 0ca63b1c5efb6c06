"""What an engine kit carries to a device: scripts that stand alone there, and whose rules the build shares."""
