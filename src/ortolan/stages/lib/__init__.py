"""What stages share. It runs inside a runtime: only the standard library at import time."""
