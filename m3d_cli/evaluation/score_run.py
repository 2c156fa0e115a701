"""A whole scoring run: of a folder of predictions, or of a network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from m3d_cli.datasets.layouts import find_layout
from m3d_cli.datasets.selection import Selection, SourceChoice, require_unique, select_frames
from m3d_cli.evaluation.alignment import parse_alignments
from m3d_cli.evaluation.doubts import doubts
from m3d_cli.evaluation.extras import parse_extras
from m3d_cli.evaluation.predictions import open_predictions
from m3d_cli.evaluation.presets import find_preset
from m3d_cli.evaluation.report import published_table
from m3d_cli.evaluation.results import Run, json_line
from m3d_cli.evaluation.scoring import ImageScores, Predict, Protocol, score_frames
from m3d_cli.evaluation.tables import csv_table, markdown_table, protocol_lines, text_table
from m3d_cli.inference.photo import available_cores
from m3d_cli.reporter import Reporter


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """The scores, and what predicts the depth of a frame once more."""

    run: Run
    predict: Predict

    def run_text(self, shape: str, report: Reporter, *, with_published: bool = False) -> str:
        """The result as text, markdown, csv or json; how it was made, and doubts, go to ``report``."""
        makers = {"json": json_line, "csv": csv_table, "markdown": markdown_table, "text": text_table}
        text = makers[shape](self.run).rstrip("\n")
        for line in protocol_lines(self.run.protocol.preset, self.run.protocol.alignments):
            report.say(line)
        for doubt in doubts(self.run):
            report.warn(doubt)
        if not with_published:
            return text
        published = published_table(self.run, in_markdown=shape == "markdown")
        if not published:
            report.warn(f"no published numbers for layout {self.run.layout}")
        elif shape in ("text", "markdown"):
            return f"{text}\n\n{published}"
        else:
            report.say(published)
        return text


@dataclass(frozen=True, slots=True)
class ScoredData:
    """The annotated frames below ``folder`` in a ``layout``, and the ``protocol`` they are scored under."""

    folder: Path
    layout: str
    selection: Selection
    protocol: Protocol

    @classmethod
    def named(
        cls, folder: Path, layout: str, sources: str, limit: int | None, protocol: tuple[str | None, str, str]
    ) -> ScoredData:
        """Frames by the names of layout and ``sources`` (separated by commas), at most ``limit``.

        ``protocol`` names preset, alignments and further scores. Raises UsageError for unknown names.
        """
        choices = [SourceChoice.parse(text) for text in sources.split(",") if text.strip()]
        selection = select_frames(find_layout(layout), folder, choices, limit)
        require_unique(selection.frames)
        preset, alignments, extras = protocol
        rules = Protocol(find_preset(preset), parse_alignments(alignments), parse_extras(extras))
        return cls(folder, layout, selection, rules)

    def score_predictions(self, folder: Path, scale: float | None, workers: int, report: Reporter) -> ScoredRun:
        """Score the depth maps in ``folder``; ``scale`` are units per metre of PNGs that do not say it themselves."""
        predict = open_predictions(folder, self.selection.frames, self.folder, scale).read
        images = self._scored(predict, workers or available_cores(), report)
        return ScoredRun(
            Run(self.layout, "pred", str(folder), self.protocol, images, selection=self.selection), predict
        )

    def score_network(
        self, name: str, weights: Path | None, device: str, precision: str, kept: Path | None, report: Reporter
    ) -> ScoredRun:
        """Score a network; its depth maps are kept in ``kept`` and read from there where they exist."""
        # Only here is torch needed.
        from m3d_cli.evaluation.benchmark import Network, kept_in

        network = Network.choose(name, weights, device, precision)
        predict = network.load() if kept is None else kept_in(kept, network, self.layout, self.folder)
        images = self._scored(predict, 1, report)
        sha256, size = network.weights.sha256, network.input_size
        spec = network.spec.label
        return ScoredRun(Run(self.layout, "model", spec, self.protocol, images, sha256, size, self.selection), predict)

    def _scored(self, predict: Predict, workers: int, report: Reporter) -> tuple[ImageScores, ...]:
        images = []
        with report.progress(len(self.selection.frames)) as advance:
            for image in score_frames(self.selection.frames, predict, self.protocol, workers):
                images.append(image)
                advance()
        return tuple(images)
