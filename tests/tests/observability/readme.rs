//! The tables of metrics in the README.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::exposed::Exposed;
use crate::folder::{read, root};

/// The services' own metrics: those of the process, and the version, are told in words.
fn is_listed(metric: &str) -> bool {
    let is_own = metric.starts_with("ingestor_") || metric.starts_with("s3_sink_");
    is_own && !metric.ends_with("_build_info")
}

/// A line of a table.
#[derive(Debug)]
struct Entry {
    kind: String,
    /// The label and, if they are listed, its values.
    label: Vec<String>,
}

/// Where the README and the services differ.
pub(crate) fn differences(exposed: &Exposed) -> Result<Vec<String>> {
    let listed = entries()?;
    ensure!(!listed.is_empty(), "the README lists no metrics");
    let mut differences = Vec::new();
    for (metric, kind) in exposed.kinds.iter().filter(|(metric, _)| is_listed(metric)) {
        let Some(entry) = listed.get(metric) else {
            differences.push(format!("{metric} is not listed"));
            continue;
        };
        if entry.kind != *kind {
            differences.push(format!("{metric} is a {kind}, not a {}", entry.kind));
        }
        let known = exposed.series.get(metric).cloned().unwrap_or_default();
        let labels: Vec<_> = known.keys().collect();
        if labels != entry.label.iter().take(1).collect::<Vec<_>>() {
            differences.push(format!("{metric} has the labels {labels:?}"));
        }
        let mut values: Vec<_> = entry.label.iter().skip(1).collect();
        values.sort();
        if !values.is_empty() && values != known.values().flatten().collect::<Vec<_>>() {
            differences.push(format!("{metric} has the labels {known:?}"));
        }
    }
    let gone = listed.keys().filter(|metric| !exposed.kinds.contains_key(*metric));
    differences.extend(gone.map(|metric| format!("{metric} is listed, and no service has it")));
    Ok(differences)
}

/// `| names | type | labels | meaning |`, names, labels and values in backticks.
fn entries() -> Result<BTreeMap<String, Entry>> {
    let readme = read(&root().join("README.md"))?;
    let section = readme.split("\n### Metrics\n").nth(1).unwrap_or_default();
    let section = section.split("\n### ").next().unwrap_or_default();
    let mut entries = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        ensure!(cells.len() == 6, "the line has not four cells: {line}");
        for metric in in_backticks(cells[1]) {
            let entry = Entry { kind: cells[2].to_owned(), label: in_backticks(cells[3]) };
            ensure!(entries.insert(metric, entry).is_none(), "a metric is listed twice: {line}");
        }
    }
    Ok(entries)
}

fn in_backticks(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
