"""Trials of the gate: their plan, records, judgement and text."""
