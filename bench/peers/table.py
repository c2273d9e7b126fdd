"""The results as a table for people: each figure with its ratio to ours."""

OURS = "ours"
HEADINGS = [
    "", "CPU s per million", "messages/s", "peak RSS, MiB", "start, CPU s", "rows in S3", "lost", "duplicated",
    "verdict",
]


def render(results):
    """Lines of text. Ratios are to the mean of our runs."""
    ours = [result for result in results if result["name"].startswith(OURS)]

    def mean(key):
        return sum(result[key] for result in ours) / len(ours)

    def figure(result, key, text):
        return f"{text} ({result[key] / mean(key):.2f}x)"

    rows = [
        [
            result["name"],
            figure(result, "cpu_seconds_per_million", f"{result['cpu_seconds_per_million']:.2f}"),
            figure(result, "messages_per_second", f"{result['messages_per_second']:,.0f}"),
            figure(result, "peak_rss_bytes", f"{result['peak_rss_bytes'] / 2**20:,.0f}"),
            f"{result['start_cpu_seconds']:.2f}",
            f"{result['rows']:,}",
            f"{result['lost']:,}",
            f"{result['duplicated']:,}",
            result["flaws"] or "each message once",
        ]
        for result in results
    ]
    first, *rest = [max(map(len, column)) for column in zip(HEADINGS, *rows)]
    lines = []
    for name, *numbers, verdict in [HEADINGS, *rows]:
        cells = [name.ljust(first), *(number.rjust(width) for number, width in zip(numbers, rest)), verdict]
        lines.append("  ".join(cells))
    rule = "-" * max(map(len, lines))
    note = "In brackets: ratios to the mean of our runs. The start is part of every figure of its line."
    return "\n".join([lines[0], rule, *lines[1:], rule, note])
