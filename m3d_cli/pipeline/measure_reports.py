"""The reports of a folder of measurements: every photo in its journal, whichever run measured it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from m3d_cli.atomic import atomic_write
from m3d_cli.errors import OutputError
from m3d_cli.metrology.report.content import PhotoReport, decode_report, encode_report
from m3d_cli.metrology.report.html import Illustrated, html_page
from m3d_cli.metrology.report.tables import encode_markdown, encode_table
from m3d_cli.photo_names import natural_key
from m3d_cli.pipeline.journal import Journal
from m3d_cli.pipeline.measure_photo import ANNOTATED_SUFFIX, DEPTH_SUFFIX, REPORT_SUFFIX
from m3d_cli.version import __version__

REPORT_NAME = "measurements"


def write_reports(out: Path, formats: Sequence[str], failed: Mapping[Path, PhotoReport]) -> tuple[Path, ...]:
    """Write the reports of ``out`` and return their paths: all photos measured there by any run, and those that
    ``failed`` now, by the report that they would have written. Where nothing was ever measured, existing reports are
    left alone. Raises OutputError.
    """
    measured = frozenset(Journal.peek(out).standing(REPORT_SUFFIX))
    files = sorted({*measured, *failed}, key=lambda file: natural_key(file.as_posix()))
    reports = [_report(file) if file in measured else failed[file] for file in files]

    def pages() -> Iterator[Illustrated]:
        return (_illustrated(file, report) for file, report in zip(files, reports, strict=True))

    targets = [out / f"{REPORT_NAME}.{kind}" for kind in formats]
    written = [path for path in targets if measured or not path.exists()]
    for path in written:
        with atomic_write(path) as file:
            for piece in encode_reports(path.suffix[1:], reports, pages, is_list=True):
                file.write(piece.encode("utf-8", "backslashreplace"))
    return tuple(written)


def encode_reports(
    kind: str, reports: Sequence[PhotoReport], pages: Callable[[], Iterable[Illustrated]], *, is_list: bool
) -> Iterator[str]:
    """A report in pieces; ``pages`` gives the photos anew at each call. JSON is a list of photos or the one photo."""
    if kind == "html":
        yield from html_page(pages(), reports, __version__)
    elif kind == "csv":
        yield encode_table(reports, ",")
    elif kind == "tsv":
        yield encode_table(reports, "\t")
    elif kind == "md":
        yield encode_markdown(reports)
    elif is_list:
        yield "[\n" + ",\n".join(encode_report(report).rstrip() for report in reports) + "\n]\n"
    else:
        (report,) = reports
        yield encode_report(report)


def _report(file: Path) -> PhotoReport:
    """A photo's report from disk; a damaged one is reported as such beside the others."""
    try:
        return decode_report(file.read_bytes(), str(file))
    except (OSError, OutputError) as error:
        note = f"its report cannot be read: {error}"
        return PhotoReport(file.name.removesuffix(REPORT_SUFFIX), None, None, None, (), notes=(note,))


def _illustrated(file: Path, report: PhotoReport) -> Illustrated:
    def image(suffix: str) -> bytes | None:
        try:
            return file.with_name(file.name.removesuffix(REPORT_SUFFIX) + suffix).read_bytes()
        except OSError:
            return None

    return Illustrated(report, image(ANNOTATED_SUFFIX), image(DEPTH_SUFFIX))
