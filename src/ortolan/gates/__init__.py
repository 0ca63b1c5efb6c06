"""From facts to gates: what each candidate and each shipped file may claim. Pure; limits come from the recipes."""

from __future__ import annotations

from ..artifact import Gate
from ..execute import Results
from ..plan import Candidates
from ..sources import Job
from . import fp32, int8, quantised
from .choice import because, choose, stopping, tolerated
from .fp32 import diverging
from .quantised import comes_quantised
from .shipping import shipped
from .waivers import granted, waive


def candidates(job: Job, found: Candidates, results: Results) -> list[Gate]:
    """Judge the float candidate and, where there is one, the INT8 candidate. What comes quantised stands for both."""
    second = quantised.as_given if comes_quantised(found, results) else int8.candidate
    return [*fp32.candidate(job, found, results), *second(job, found, results)]


__all__ = [
    "because", "candidates", "choose", "comes_quantised", "diverging", "granted", "shipped", "stopping", "tolerated", "waive",
]  # fmt: skip
