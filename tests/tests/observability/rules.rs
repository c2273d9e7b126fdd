//! Prometheus' configuration, rules, and the rules' own tests, as far as they name something.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use yaml_rust2::{Yaml, YamlLoader};

use crate::folder::{files, read, root};

const FOLDER: &str = "deploy/prometheus";

/// A rule of any kind.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Its file and its name, for messages.
    pub(crate) place: String,
    /// The alert's name or the recorded metric's.
    pub(crate) name: String,
    /// Whether it is an alert.
    pub(crate) is_alert: bool,
    /// What it asks.
    pub(crate) expression: String,
    /// The label `severity`.
    pub(crate) severity: Option<String>,
    /// Its texts, by name.
    pub(crate) annotations: Vec<(String, String)>,
}

/// All rules.
pub(crate) fn rules() -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for file in files(&root().join(FOLDER).join("rules"), "yml")? {
        let place = format!("rules/{}", file_name(&file));
        for group in list(&yaml(&file)?["groups"]) {
            for rule in list(&group["rules"]) {
                rules.push(parse(rule, &place)?);
            }
        }
    }
    ensure!(!rules.is_empty(), "there are no rules");
    Ok(rules)
}

/// The series that rule tests feed in, each with its place.
pub(crate) fn input_series() -> Result<Vec<(String, String)>> {
    let mut series = Vec::new();
    for file in files(&root().join(FOLDER).join("tests"), "yml")? {
        let place = file_name(&file);
        for test in list(&yaml(&file)?["tests"]) {
            let test_name = test["name"].as_str().context("a rule test without a name")?;
            for input in list(&test["input_series"]) {
                let name = input["series"].as_str().context("an input without a series")?;
                series.push((format!("tests/{place}: {test_name}"), name.to_owned()));
            }
        }
    }
    ensure!(!series.is_empty(), "there are no rule tests");
    Ok(series)
}

/// The alerts that rule tests expect to fire.
pub(crate) fn alerts_tested() -> Result<BTreeSet<String>> {
    let mut tested = BTreeSet::new();
    for file in files(&root().join(FOLDER).join("tests"), "yml")? {
        let text = read(&file)?;
        let names = text.split("alertname=\"").skip(1).filter_map(|after| after.split('"').next());
        tested.extend(names.map(str::to_owned));
    }
    Ok(tested)
}

/// The jobs that are scraped.
pub(crate) fn jobs() -> Result<BTreeSet<String>> {
    let config = yaml(&root().join(FOLDER).join("prometheus.yml"))?;
    let name =
        |job: &Yaml| job["job_name"].as_str().map(str::to_owned).context("a job without a name");
    list(&config["scrape_configs"]).iter().map(name).collect()
}

fn parse(rule: &Yaml, file: &str) -> Result<Rule> {
    let is_alert = !rule["alert"].is_badvalue();
    let name = rule[if is_alert { "alert" } else { "record" }].as_str();
    let name = name.with_context(|| format!("{file}: a rule without a name"))?.to_owned();
    let text = |of: &Yaml| of.as_str().map(str::to_owned);
    let annotations = rule["annotations"].as_hash().into_iter().flatten();
    Ok(Rule {
        place: format!("{file}: {name}"),
        is_alert,
        expression: text(&rule["expr"]).with_context(|| format!("{file}: {name} has no expr"))?,
        severity: text(&rule["labels"]["severity"]),
        annotations: annotations.filter_map(|(name, value)| text(name).zip(text(value))).collect(),
        name,
    })
}

fn yaml(file: &Path) -> Result<Yaml> {
    let documents = YamlLoader::load_from_str(&read(file)?)
        .with_context(|| format!("{} is no YAML", file.display()))?;
    documents.into_iter().next().with_context(|| format!("{} is empty", file.display()))
}

fn file_name(file: &Path) -> String {
    file.file_name().unwrap_or_default().display().to_string()
}

fn list(yaml: &Yaml) -> &[Yaml] {
    yaml.as_vec().map_or(&[], Vec::as_slice)
}
