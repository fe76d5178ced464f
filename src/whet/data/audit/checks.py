"""An audit: every check over the same material, the worst finding first."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whet.data.audit import damage, language, leaks, made_words, personal, targets, twins
from whet.data.audit.annotators import Annotations, annotator_findings
from whet.data.audit.contamination import contamination
from whet.data.audit.finding import SEVERITIES, Audit, Finding
from whet.data.audit.material import Material
from whet.progress import Progress, Silent

CHECKS = (
    leaks.leaks, leaks.template_leaks, leaks.doubled_documents, leaks.straddling_groups,
    twins.conflicts, twins.near_conflicts, twins.duplicates, twins.near_copies,
    targets.unusable, targets.constant, targets.imbalance, targets.unshuffled, targets.lengths, targets.truncation,
    damage.damage, personal.personal_data, made_words.made_words, language.language_mix,
)  # fmt: skip


def audit(
    material: Material,
    *,
    benchmarks: Sequence[Path] = (),
    annotations: Annotations | None = None,
    text_column: str | None = None,
    progress: Progress | None = None,
) -> Audit:
    """All that is wrong with the material, or worth knowing.

    Args:
        material: the rows.
        benchmarks: files whose passages must not stand in the rows.
        annotations: the labels that several people gave.
        text_column: what they read, to show it.
        progress: is told of every check.

    Raises:
        DataError: a benchmark cannot be read.
    """
    progress = progress or Silent()
    progress.start("auditing", len(CHECKS) + len(benchmarks), "check")
    findings: list[Finding] = []
    for check in CHECKS:
        findings += check(material)
        progress.advance(note=check.__name__.replace("_", " "))
    for benchmark in benchmarks:
        findings += contamination(material, [benchmark])
        progress.advance(note=benchmark.name)
    facts = facts_of(material)
    if annotations is not None:
        found, figures = annotator_findings(annotations, text_column)
        findings += found
        facts["annotators"] = figures
    findings.sort(key=lambda finding: -SEVERITIES.index(finding.severity))  # stable: in the order of the checks
    return Audit(material.title, tuple(findings), facts, material.skipped)


def facts_of(material: Material) -> dict[str, Any]:
    """Figures of the data that are no fault: rows, splits, labels and their entropy, lengths, languages."""
    facts: dict[str, Any] = {
        "rows": len(material.examples), "unusable": len(material.drops),
        "splits": {split: n for split, n in material.sizes().items() if split},
        "distinct_texts": len(material.by_form), "languages": language.languages(material),
    }  # fmt: skip
    groups = {example.group for example in material.examples if example.group is not None}
    if groups:
        facts["groups"] = len(groups)
    if material.kind == "classify":
        facts["labels"] = {label: len(rows) for label, rows in material.by_label.items()}
        facts["entropy_bits"] = round(targets.entropy(material), 4)
        facts["most_entropy_bits"] = round(math.log2(max(1, len(material.by_label))), 4)
    if material.lengths:
        facts["tokens"] = {"median": int(statistics.median_low(material.lengths)), "longest": max(material.lengths)}
        facts["tokens"]["most"] = material.longest
    return facts
