"""`srd report [STUDY]`."""

from srd.commands.terminal import one_word, outputs_of, print_table


def report(words: list[str]) -> None:
    """`srd report [STUDY]`."""
    from srd.report.tables import comparisons, summary_table
    from srd.report.write import write_report

    outputs, rest = outputs_of(words)
    rows, paths = write_report(outputs, one_word(rest, "report", "study", default="default"))
    print_table(*summary_table(rows))
    for line in comparisons(rows):
        print(line)
    for path in paths.values():
        print(path)
