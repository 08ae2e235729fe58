"""The phase of a heart that a volume shows, by its name: end-diastole or end-systole."""

from __future__ import annotations

PHASES = ("ED", "ES")


def phase_of(volume: str) -> str:
    """'ED' or 'ES' of a volume called patient001_ED or patient001_ES.nii.gz; '' of any other."""
    phase = volume.rsplit("/")[-1].partition(".")[0].rpartition("_")[2]
    return phase if phase in PHASES else ""
