"""The gates of builds as JUnit's XML, which CI systems show as tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from ..artifact import Gate, Outcome
from ..ci.records import Record

_FORBIDDEN = re.compile("[^\t\n\\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(records: Sequence[Record]) -> bytes:
    """A suite for each build, a case for each gate: failed, or skipped where it did not run or is waived.

    An error that ended a build is a case of its own.
    """
    top = ET.Element("testsuites", name="ortolan")
    for one in records:
        _suite(top, one)
    _count(top, list(top.iter("testcase")))
    ET.indent(top)
    return f"{ET.tostring(top, encoding='unicode')}\n".encode()


def _suite(top: ET.Element, record: Record) -> None:
    suite = ET.SubElement(top, "testsuite", name=plain(record.name))
    for gate in record.gates:
        _judged(_case(suite, record, f"{gate.name} ({gate.subject})"), gate)
    for number, error in enumerate(record.errors, 1):
        _told(_case(suite, record, f"build, error {number}"), "error", error.partition("\n")[0], error)
    if not record.ok and not record.failed:
        _told(_case(suite, record, "build"), "error", "nothing was put in place", "")
    _count(suite, list(suite))


def _case(suite: ET.Element, record: Record, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=plain(f"{record.target}.{record.model}"), name=plain(name))


def _judged(case: ET.Element, gate: Gate) -> None:
    words = said(gate)
    if gate.outcome is Outcome.FAIL:
        _told(case, "failure", words, words)
    elif gate.outcome is Outcome.NOT_RUN:
        _told(case, "skipped", f"not run: {gate.why}".removesuffix(": "), "")
    elif gate.outcome is Outcome.WAIVED:
        _told(case, "skipped", f"waived: {gate.why}".removesuffix(": "), "")
    ET.SubElement(case, "system-out").text = plain(words)


def _told(case: ET.Element, kind: str, message: str, text: str) -> None:
    ET.SubElement(case, kind, message=plain(message)).text = plain(text) or None


def _count(element: ET.Element, cases: Sequence[ET.Element]) -> None:
    kinds = {"tests": "", "failures": "failure", "errors": "error", "skipped": "skipped"}
    for name, kind in kinds.items():
        element.set(name, str(sum(1 for case in cases if not kind or case.find(kind) is not None)))


def said(gate: Gate) -> str:
    """What was measured, what the limit is, and why, as far as there are words for each."""
    parts = (gate.outcome, gate.measured and f"measured {gate.measured}", gate.limit and f"limit {gate.limit}", gate.why)
    return "; ".join(part for part in parts if part)


def plain(text: str) -> str:
    """Text that XML 1.0 can hold: what it cannot becomes U+FFFD, and every line end a line feed."""
    return _FORBIDDEN.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
