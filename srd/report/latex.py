"""A table for a paper: LaTeX with booktabs, every text escaped."""

import re

MARKS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "…": r"\ldots{}", "×": r"$\times$", "−": "$-$", "±": r"$\pm$",
    "→": r"$\to$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "‖": r"$\Vert$", "≥": r"$\geq$", "≤": r"$\leq$",
    "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "λ": r"$\lambda$", "μ": r"$\mu$", "τ": r"$\tau$",
}  # fmt: skip
"""What is not itself in LaTeX, and the field's letters, which pdfLaTeX has in formulas alone."""
ANY_MARK = re.compile("|".join(map(re.escape, MARKS)))
NUMERIC_CELL = re.compile(r"[-+]?[\d.,]+( %)?")


def escaped(text: str) -> str:
    """The text on one line, as LaTeX prints it."""
    # In one pass: what stands for a mark has marks of its own.
    return ANY_MARK.sub(lambda found: MARKS[found[0]], " ".join(text.split()))


def latex(header: list[str], lines: list[list[str]], caption: str) -> str:
    """A table float: texts to the left, columns of numbers to the right. Needs `\\usepackage{booktabs}`."""
    numeric = [all(NUMERIC_CELL.fullmatch(cell) for cell in column if cell) for column in zip(*lines, strict=True)]
    body = [_row(header), r"\midrule", *map(_row, lines)]
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs}.",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(caption)}}}",
            rf"\begin{{tabular}}{{{''.join('r' if right else 'l' for right in numeric)}}}",
            r"\toprule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _row(cells: list[str]) -> str:
    # A line break before "[" or "*" would read them as its own arguments.
    first, *others = map(escaped, cells)
    protected = "{}" + first if first.startswith(("[", "*")) else first
    return " & ".join([protected, *others]) + r" \\"
