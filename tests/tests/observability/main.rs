//! What watches the services speaks of what they expose: every name in Prometheus' rules, their
//! tests, Grafana's dashboards and the README's tables is looked up in the `/metrics` of the real
//! binaries. A rule on a metric that nobody has is one that never fires, and nobody notices.

#![allow(clippy::panic_in_result_fn, reason = "a test fails by panicking or by an error")]

mod dashboard;
mod exposed;
mod folder;
mod promql;
mod readme;
mod rules;

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use e2e_tests::process::Process;
use e2e_tests::scenario::Scenario;

use exposed::Exposed;

const PARTITIONS: i32 = 3;

#[test]
fn every_name_in_rules_panels_and_readme_is_one_that_the_services_expose() -> Result<()> {
    let mut exposed = Exposed { jobs: rules::jobs()?, ..Exposed::default() };
    let scenario = Scenario::start("observability", PARTITIONS)?;
    for answer in answers(&scenario)? {
        exposed.add_answer(&answer)?;
    }
    let rules = rules::rules()?;
    for rule in rules.iter().filter(|rule| !rule.is_alert) {
        exposed.add_recorded(&rule.name, promql::parse(&rule.expression)?.grouping);
    }

    let mut mistakes = Vec::new();
    let mut look_up = |place: &str, expression: &str| -> Result<()> {
        let unknown = exposed.unknown_names(&promql::parse(expression)?);
        mistakes.extend(unknown.into_iter().map(|what| format!("{place}: {what}")));
        Ok(())
    };
    for rule in &rules {
        look_up(&rule.place, &rule.expression)?;
    }
    for (place, series) in rules::input_series()? {
        look_up(&place, &series)?;
    }
    for (place, expression) in dashboard::dashboards()?.iter().flat_map(dashboard::queries) {
        look_up(&place, &expression)?;
    }
    mistakes.extend(
        readme::differences(&exposed)?.into_iter().map(|what| format!("README.md: {what}")),
    );
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    Ok(())
}

/// Runs both services until everything that they expose is there, and gives what they answer.
fn answers(scenario: &Scenario) -> Result<[String; 2]> {
    let mut sink = scenario.sink("s3-sink", &[])?;
    let settings = [
        ("RUN_ON_START", "true"),
        ("PAUSE_SECONDS", "0.2"),
        ("STREAMING_SECONDS", "1"),
        ("API_RESULTS", "30"),
    ];
    let environment = scenario.environment(&settings)?;
    let mut ingestor =
        Process::start("ingestor", &["serve"], &environment, scenario.folder(), "ingestor")?;
    ingestor.wait_for_metric("ingestor_runs_total{outcome=\"succeeded\"}", 1.0)?;
    sink.wait_for_metric("s3_sink_rows_stored_total", 1.0)?;
    // Has no series for a partition until the group has given it to the sink.
    for partition in 0..PARTITIONS {
        sink.wait_for_metric(&format!("s3_sink_lag_messages{{partition=\"{partition}\"}}"), 0.0)?;
    }
    assert_eq!(sink.metric("s3_sink_memory_limit_bytes")?, Some(f64::from(256 << 20)));
    let answers = [answer(&ingestor, scenario, "ingestor")?, answer(&sink, scenario, "s3-sink")?];
    for process in [&mut ingestor, &mut sink] {
        process.leave()?;
    }
    Ok(answers)
}

/// What a service answers to `/metrics`; it stays in the test's folder for a look.
fn answer(process: &Process, scenario: &Scenario, name: &str) -> Result<String> {
    let answer = process.get("/metrics")?.context("no answer to /metrics")?;
    std::fs::write(scenario.folder().join(format!("{name}.metrics")), &answer)?;
    Ok(answer)
}

#[test]
fn every_panel_has_its_place_its_words_and_its_queries() -> Result<()> {
    for dashboard in dashboard::dashboards()? {
        let mistakes = dashboard::mistakes(&dashboard)?;
        assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    }
    Ok(())
}

#[test]
fn a_dashboard_with_mistakes_is_refused() -> Result<()> {
    let dashboard = dashboard::dashboards()?.swap_remove(0);
    let refused_for = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut changed = dashboard.clone();
        // The first one is a row.
        change(&mut changed["panels"][1]);
        anyhow::Ok(dashboard::mistakes(&changed)?.join("\n"))
    };
    let expression = |text: &'static str| {
        move |panel: &mut serde_json::Value| panel["targets"][0]["expr"] = text.into()
    };
    assert!(refused_for(&|panel| panel["id"] = 3.into())?.contains("missing or taken"));
    assert!(refused_for(&|panel| panel["gridPos"]["w"] = 4.into())?.contains("overlaps"));
    assert!(
        refused_for(&|panel| panel["gridPos"]["x"] = 22.into())?.contains("no part of the grid")
    );
    assert!(refused_for(&|panel| panel["description"] = "".into())?.contains("no description"));
    assert!(refused_for(&expression(""))?.contains("no expr"));
    assert!(refused_for(&expression("up{job=\"$service\"}"))?.contains("no variable $service"));
    assert!(
        refused_for(&|panel| panel["targets"][0]["legendFormat"] = "{{job}}".into())?
            .contains("names job")
    );
    Ok(())
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_to_do_and_has_a_test() -> Result<()> {
    let tested = rules::alerts_tested()?;
    let mut names = BTreeSet::new();
    for rule in rules::rules()?.into_iter().filter(|rule| rule.is_alert) {
        let place = &rule.place;
        assert!(
            matches!(rule.severity.as_deref(), Some("critical" | "warning")),
            "{place}: severity"
        );
        assert!(tested.contains(&rule.name), "{place}: no rule test expects it to fire");
        for wanted in ["summary", "description"] {
            let text = rule.annotations.iter().find(|(name, _)| name == wanted);
            assert!(text.is_some_and(|(_, text)| !text.is_empty()), "{place}: no {wanted}");
        }
        // Once series are grouped, no other label is left to be told.
        let kept = promql::parse(&rule.expression)?.grouping;
        for (_, text) in &rule.annotations {
            for label in dashboard::labels_in(text, "$labels.", " ") {
                assert!(kept.is_empty() || kept.contains(label), "{place}: {label} is not kept");
            }
        }
        assert!(names.insert(rule.name), "{place}: there are two of that name");
    }
    Ok(())
}
