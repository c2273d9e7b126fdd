//! Grafana's dashboards: their panels and queries, and what must be true of every one of them.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::folder::{files, read, root};
use crate::promql;

const FOLDER: &str = "deploy/grafana/dashboards";
/// Grafana divides the width into as many columns.
const COLUMNS: u64 = 24;
/// Variables that Grafana sets.
const OWN_VARIABLES: [&str; 3] = ["__rate_interval", "__interval", "__range"];

/// All dashboards, parsed.
pub(crate) fn dashboards() -> Result<Vec<Value>> {
    let files = files(&root().join(FOLDER), "json")?;
    ensure!(!files.is_empty(), "there is no dashboard");
    files
        .iter()
        .map(|file| {
            serde_json::from_str(&read(file)?)
                .with_context(|| format!("{} is no JSON", file.display()))
        })
        .collect()
}

/// Every query of a dashboard with its place, those of its variables included.
pub(crate) fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for panel in list(&dashboard["panels"]) {
        let targets = list(&panel["targets"]).iter();
        queries.extend(targets.map(|target| (place(panel), text(&target["expr"]).to_owned())));
    }
    for variable in list(&dashboard["templating"]["list"]) {
        // `label_values(metric, label)`, the only form used here.
        let query = text(&variable["query"]["query"]).strip_prefix("label_values(");
        if let Some((metric, label)) = query.and_then(|query| query.split_once(',')) {
            let place = format!("variable {}", text(&variable["name"]));
            let label = label.trim().trim_end_matches(')');
            queries.push((place, format!("count by ({label}) ({metric})")));
        }
    }
    queries
}

/// What is wrong with a dashboard.
pub(crate) fn mistakes(dashboard: &Value) -> Result<Vec<String>> {
    let mut mistakes = Vec::new();
    for field in ["uid", "title", "description", "refresh"] {
        if text(&dashboard[field]).is_empty() {
            mistakes.push(format!("the dashboard has no {field}"));
        }
    }
    let variables: BTreeSet<_> = list(&dashboard["templating"]["list"])
        .iter()
        .map(|variable| text(&variable["name"]))
        .chain(OWN_VARIABLES)
        .collect();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in list(&dashboard["panels"]) {
        let place = place(panel);
        if !panel["id"].as_u64().is_some_and(|id| ids.insert(id)) {
            mistakes.push(format!("{place}: its id {} is missing or taken", panel["id"]));
        }
        mistakes
            .extend(mistakes_in_place(panel, &mut taken).map(|what| format!("{place}: {what}")));
        if panel["type"] != "row" {
            let what = mistakes_in_panel(panel, &variables)?;
            mistakes.extend(what.into_iter().map(|what| format!("{place}: {what}")));
        }
    }
    Ok(mistakes)
}

/// Whether a panel lies inside the grid, and on cells that no other one has taken.
fn mistakes_in_place(panel: &Value, taken: &mut BTreeSet<(u64, u64)>) -> Option<String> {
    let side = |name: &str| panel["gridPos"][name].as_u64();
    let (Some(x), Some(y), Some(w), Some(h)) = (side("x"), side("y"), side("w"), side("h")) else {
        return Some("it has no place".to_owned());
    };
    if w == 0 || h == 0 || x + w > COLUMNS {
        return Some(format!("its place {} is no part of the grid", panel["gridPos"]));
    }
    let cells = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y)));
    // All of them are taken, whatever the first says.
    let overlaps = cells.filter(|cell| !taken.insert(*cell)).count();
    (overlaps > 0).then(|| format!("its place {} overlaps with another panel", panel["gridPos"]))
}

fn mistakes_in_panel(panel: &Value, variables: &BTreeSet<&str>) -> Result<Vec<String>> {
    let mut mistakes = Vec::new();
    for field in ["title", "description"] {
        if text(&panel[field]).is_empty() {
            mistakes.push(format!("it has no {field}"));
        }
    }
    if text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty()
        && text(&panel["options"]["yAxis"]["unit"]).is_empty()
        && panel["type"] != "state-timeline"
    {
        mistakes.push("it has no unit".to_owned());
    }
    let targets = list(&panel["targets"]);
    if targets.is_empty() {
        mistakes.push("it has no query".to_owned());
    }
    let mut ref_ids = BTreeSet::new();
    for target in targets.iter().chain([panel]) {
        if target["datasource"]["uid"] != "${datasource}" {
            mistakes.push("it does not ask the data source that was chosen".to_owned());
        }
    }
    for target in targets {
        if !ref_ids.insert(text(&target["refId"])) {
            mistakes.push(format!("its refId {} is there twice", target["refId"]));
        }
        let (expression, legend) = (text(&target["expr"]), text(&target["legendFormat"]));
        if expression.is_empty() || legend.is_empty() {
            mistakes.push(format!("its query {} has no expr or no legend", target["refId"]));
        }
        let query = promql::parse(expression)?;
        let strangers = query.variables.iter().filter(|name| !variables.contains(name.as_str()));
        mistakes.extend(strangers.map(|name| format!("there is no variable ${name}")));
        // A heatmap's cells are named by their bound.
        let grouping = query.grouping.iter().map(String::as_str);
        let named: BTreeSet<_> =
            grouping.filter(|label| panel["type"] == "heatmap" || *label != "le").collect();
        for label in labels_in(legend, "{{", "}}").filter(|label| !named.contains(label)) {
            mistakes.push(format!("its legend names {label}, which the query does not keep"));
        }
    }
    Ok(mistakes)
}

/// The names between `open` and `close` in a text.
pub(crate) fn labels_in<'a>(
    text: &'a str,
    open: &str,
    close: &str,
) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |after| Some(after.split_once(close)?.0.trim()))
}

fn place(panel: &Value) -> String {
    format!("panel {} {:?}", panel["id"], text(&panel["title"]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
