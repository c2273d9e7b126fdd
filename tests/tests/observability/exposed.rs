//! What the running services expose, and whether a name is among it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use crate::promql::{self, Query};

/// Labels that Prometheus adds to whatever it scrapes.
const ADDED_LABELS: [&str; 2] = ["job", "instance"];
/// Series that Prometheus makes itself, and their labels beside the added ones.
const OWN_SERIES: [(&str, &[&str]); 2] =
    [("up", &[]), ("ALERTS", &["alertname", "alertstate", "severity"])];

/// Label → values.
pub(crate) type Labels = BTreeMap<String, BTreeSet<String>>;

/// Everything that has a name.
#[derive(Debug, Default)]
pub(crate) struct Exposed {
    /// Metric → `counter`, `gauge` or `histogram`, as a service says it.
    pub(crate) kinds: BTreeMap<String, String>,
    /// Series → its labels. Histograms have three: `…_bucket`, `…_sum`, `…_count`.
    pub(crate) series: BTreeMap<String, Labels>,
    /// The jobs that Prometheus scrapes.
    pub(crate) jobs: BTreeSet<String>,
}

impl Exposed {
    /// Adds what a service answers to `/metrics`.
    pub(crate) fn add_answer(&mut self, answer: &str) -> Result<()> {
        for line in answer.lines() {
            if let Some((metric, kind)) =
                line.strip_prefix("# TYPE ").and_then(|kind| kind.split_once(' '))
            {
                self.kinds.insert(metric.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                let (series, _value) = line.rsplit_once(' ').context("a sample without a value")?;
                for selector in promql::parse(series)?.selectors {
                    let labels = self.series.entry(selector.metric).or_default();
                    for matcher in selector.matchers {
                        labels.entry(matcher.label).or_default().insert(matcher.value);
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds a series that a recording rule makes.
    pub(crate) fn add_recorded(&mut self, metric: &str, labels: impl IntoIterator<Item = String>) {
        let labels = labels.into_iter().map(|label| (label, BTreeSet::new())).collect();
        self.series.insert(metric.to_owned(), labels);
    }

    /// The names in `query` that nothing has.
    pub(crate) fn unknown_names(&self, query: &Query) -> Vec<String> {
        let mut unknown = Vec::new();
        let mut labels = BTreeSet::from(ADDED_LABELS.map(str::to_owned));
        for selector in &query.selectors {
            let metric = &selector.metric;
            let Some(known) = self.labels(metric) else {
                unknown.push(format!("no metric {metric}"));
                continue;
            };
            for matcher in &selector.matchers {
                let label = &matcher.label;
                let values = match label.as_str() {
                    "job" => Some(&self.jobs),
                    "instance" => None,
                    _ => known.get(label),
                };
                if label != "instance" && values.is_none() {
                    unknown.push(format!("{metric} has no label {label}"));
                }
                for value in matcher.values() {
                    if values.is_some_and(|values| !values.is_empty() && !values.contains(value)) {
                        unknown.push(format!("{metric} has no {label}=\"{value}\""));
                    }
                }
            }
            labels.extend(known.into_keys());
        }
        let strangers = query.grouping.iter().filter(|label| !labels.contains(*label));
        unknown.extend(strangers.map(|label| format!("no metric here has a label {label}")));
        unknown
    }

    /// A series' own labels. Without values where any may come.
    fn labels(&self, metric: &str) -> Option<Labels> {
        let own = OWN_SERIES.iter().find(|(name, _)| *name == metric);
        match own {
            Some((_, labels)) => {
                Some(labels.iter().map(|label| ((*label).to_owned(), BTreeSet::new())).collect())
            }
            None => self.series.get(metric).cloned(),
        }
    }
}

#[test]
fn a_wrong_name_is_told_whatever_it_names() -> Result<()> {
    let mut exposed = Exposed { jobs: BTreeSet::from(["sink".to_owned()]), ..Exposed::default() };
    exposed.add_answer(
        "# HELP a_total an a\n# TYPE a_total counter\na_total{reason=\"x\"} 0\na_total{reason=\"y\"} 2\n",
    )?;
    exposed.add_recorded("job:a:sum", ["job".to_owned()]);
    let unknown = |expression: &str| anyhow::Ok(exposed.unknown_names(&promql::parse(expression)?));
    let fine = r#"sum by (reason, instance) (a_total{reason=~"x|y", job="sink"}) > on (job) job:a:sum and up"#;
    assert_eq!(unknown(fine)?, [""; 0]);
    assert_eq!(unknown("b_total")?, ["no metric b_total"]);
    assert_eq!(unknown(r#"a_total{reason="z"}"#)?, ["a_total has no reason=\"z\""]);
    assert_eq!(unknown(r#"a_total{cause="x"}"#)?, ["a_total has no label cause"]);
    assert_eq!(unknown(r#"up{job="source"}"#)?, ["up has no job=\"source\""]);
    assert_eq!(unknown("sum by (cause) (a_total)")?, ["no metric here has a label cause"]);
    Ok(())
}
