"""Every word a report judges with, and what it means. One table for the terminal, Markdown, the page and the docs."""

from __future__ import annotations

from typing import Literal

Verdict = Literal[
    "faster",
    "slower",
    "same",
    "unknown",
    "wrong",
    "degenerate",
    "oom",
    "failed",
    "skipped",
    "new",
    "gone",
    "incomparable",
    "larger",
    "alone",
]

MEANINGS: dict[Verdict, str] = {
    "faster": "Less time than what it stands beside: even the cautious end of the interval is more than 3 % less.",
    "slower": "More time than what it stands beside: even the cautious end of the interval is more than 3 % more.",
    "same": "The whole interval of the ratio lies within 3 %: any difference is too small to matter.",
    "unknown": "Not decided: too noisy, too few samples, or a throttled device; the cause is named.",
    "wrong": "The output differs from the expected one by more than is allowed, so no time is given.",
    "degenerate": "The expected maps show nothing in more than 10 % of the images: agreement would prove nothing.",
    "oom": "Memory ran out.",
    "failed": "The code raised an error; its message is given.",
    "skipped": "Not run; the reason is given.",
    "alone": "Measured without another implementation beside it.",
    "larger": "The peak of memory grew by more than it varies between runs.",
    "new": "Measured now and not before.",
    "gone": "Measured before and not now: a benchmark that vanished counts against a change.",
    "incomparable": "Another torch, driver, device or reference version: times must not be compared.",
}
