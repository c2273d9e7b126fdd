//! The brokers' secure listener: TLS, SCRAM-SHA-512, and no right more than the README lists.

use anyhow::{Context, Result, ensure};
use e2e_tests::cluster::{BROKERS, Cluster};
use e2e_tests::process::{PATIENCE, Process};
use e2e_tests::rows;
use e2e_tests::scenario::Scenario;
use e2e_tests::wait_for;

use crate::{all, leave};

/// What every password begins with; it must not be told anywhere.
const SECRET: &str = "secret-of-";

/// A client's settings for the secure listener.
struct Login<'a> {
    scenario: &'a Scenario,
    user: &'a str,
    password: &'a str,
    authority: &'a str,
}

impl<'a> Login<'a> {
    fn of(scenario: &'a Scenario, user: &'a str) -> Self {
        Self { scenario, user, password: user, authority: "ca.pem" }
    }

    fn start(&self, binary: &str, arguments: &[&str], label: &str) -> Result<Process> {
        let Self { scenario, user, password, authority } = self;
        let facts = scenario.cluster()?.facts();
        let config = format!(
            "security.protocol=SASL_SSL,sasl.mechanism=SCRAM-SHA-512,sasl.username={user},\
             sasl.password={SECRET}{password},ssl.ca.location={}",
            facts.certificate(authority).display()
        );
        let more = [
            ("KAFKA_BOOTSTRAP_SERVERS", facts.secure_bootstrap_servers.as_str()),
            ("KAFKA_CONFIG", &config),
            ("RUN_REQUESTS_MAX", "3"),
            ("API_RESULTS", "100"),
            ("PAUSE_SECONDS", "0"),
        ];
        let environment = scenario.environment(&more)?;
        Process::start(binary, arguments, &environment, scenario.folder(), label)
    }
}

/// Gives `user` these operations on topics or groups: `--topic NAME`, `--group NAME`.
fn grant(scenario: &Scenario, user: &str, operations: &[&str], resources: &[&str]) -> Result<()> {
    let principal = format!("User:{user}");
    let mut arguments = vec!["--add", "--allow-principal", &principal];
    for operation in operations {
        arguments.extend(["--operation", operation]);
    }
    arguments.extend(resources);
    scenario.cluster()?.tool("kafka-acls", &arguments).map(|_| ())
}

/// The README's list of the sink's rights.
fn grant_to_sink(scenario: &Scenario) -> Result<()> {
    let (topic, letters) = (scenario.topic(), format!("{}.dlq", scenario.topic()));
    grant(scenario, "s3-sink", &["Read", "Describe"], &["--topic", topic])?;
    grant(scenario, "s3-sink", &["Write", "Describe"], &["--topic", &letters])?;
    grant(scenario, "s3-sink", &["Read"], &["--group", topic])
}

/// No log and no output of the scenario holds a password.
fn check_secrets(scenario: &Scenario) -> Result<()> {
    for entry in std::fs::read_dir(scenario.folder())? {
        let path = entry?.path();
        if path.is_file() {
            let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
            ensure!(!text.contains(SECRET), "{} holds a password", path.display());
        }
    }
    Ok(())
}

#[test]
fn runs_sinks_and_audits_do_with_the_rights_that_the_readme_lists() -> Result<()> {
    let scenario = Scenario::on_cluster(Cluster::shared()?, "rights", 2)?;
    let (topic, letters) = (scenario.topic(), format!("{}.dlq", scenario.topic()));
    grant(&scenario, "ingestor", &["Write", "Describe"], &["--topic", topic])?;
    grant_to_sink(&scenario)?;
    let topics = ["--topic", topic, "--topic", &letters];
    grant(&scenario, "pipectl", &["Read", "Describe"], &topics)?;
    grant(&scenario, "pipectl", &["Describe"], &["--group", topic])?;

    Login::of(&scenario, "ingestor").start("ingestor", &["run"], "ingestor")?.wait_success()?;
    let mut sink = Login::of(&scenario, "s3-sink").start("s3-sink", &["run"], "sink")?;
    sink.wait_for_metric("s3_sink_rows_stored_total", 300.0)?;
    sink.wait_ready()?;
    for path in ["/metrics", "/readyz", "/healthz"] {
        let answer = sink.get(path)?.with_context(|| format!("no answer to {path}"))?;
        ensure!(!answer.contains(SECRET), "{path} tells a password");
    }
    leave([&mut sink])?;
    let line = ["audit", "--deep", "--expect-drained"];
    Login::of(&scenario, "pipectl").start("pipectl", &line, "audit-by-pipectl")?.wait_success()?;
    assert_eq!(scenario.finish(all)?.rows, 300);
    check_secrets(&scenario)
}

#[test]
fn what_is_wrong_with_a_login_is_told_and_nothing_is_lost_once_it_is_mended() -> Result<()> {
    let scenario = Scenario::on_cluster(Cluster::shared()?, "logins", 1)?;
    scenario.produce_valid(1, 0, 100)?;
    let right = || Login::of(&scenario, "s3-sink");
    let cases = [
        ("password", Login { password: "wrong", ..right() }, "Authentication failed"),
        ("authority", Login { authority: "other-ca.pem", ..right() }, "certificate verify failed"),
        ("rights", right(), "uthorization failed"),
    ];
    for (label, login, told) in cases {
        let mut sink = login.start("s3-sink", &["run"], label)?;
        wait_for("the reason in the log", PATIENCE, || {
            Ok(sink.log()?.contains(told).then_some(()))
        })
        .with_context(|| sink.tail())?;
        // It may have given up, or try again: either way it stores nothing, and says that it can't.
        if sink.is_running()? {
            ensure!(sink.request("/readyz")?.is_none_or(|(status, _)| status == 503), sink.tail());
        }
        assert_eq!(rows::files(scenario.objects())?.len(), 0, "{label}");
    }
    grant_to_sink(&scenario)?;
    let mut sink = right().start("s3-sink", &["run"], "mended")?;
    sink.wait_for_metric("s3_sink_rows_stored_total", 100.0)?;
    leave([&mut sink])?;
    assert_eq!(scenario.finish(all)?.rows, 100);
    check_secrets(&scenario)
}

#[test]
fn rights_that_are_taken_away_and_given_back_cost_nothing() -> Result<()> {
    let scenario = Scenario::on_cluster(Cluster::shared()?, "rights-taken", 1)?;
    let topic = scenario.topic();
    grant_to_sink(&scenario)?;
    let mut sink = Login::of(&scenario, "s3-sink").start("s3-sink", &["run"], "sink")?;
    scenario.produce_valid(1, 0, 100)?;
    sink.wait_for_metric("s3_sink_rows_stored_total", 100.0)?;
    // Commits and heartbeats are refused from now on.
    let group = ["--allow-principal", "User:s3-sink", "--operation", "Read", "--group", topic];
    scenario.cluster()?.tool("kafka-acls", &[&["--remove", "--force"], &group[..]].concat())?;
    scenario.produce_valid(1, 100, 100)?;
    wait_for("the sink to tell", PATIENCE, || {
        Ok(sink.log()?.contains("uthorization failed").then_some(()))
    })
    .with_context(|| sink.tail())?;
    grant_to_sink(&scenario)?;
    sink.wait_for_metric("s3_sink_rows_stored_total", 200.0)?;
    sink.wait_ready()?;
    leave([&mut sink])?;
    assert_eq!(scenario.finish(all)?.rows, 200);
    Ok(())
}

#[test]
fn a_certificate_that_has_ended_is_told_and_its_successor_is_taken() -> Result<()> {
    let scenario = Scenario::on_cluster(Cluster::alone()?, "expired", 1)?;
    scenario.produce_valid(1, 0, 100)?;
    grant_to_sink(&scenario)?;
    serve_certificate(&scenario, "expired.p12")?;
    let mut sink = Login::of(&scenario, "s3-sink").start("s3-sink", &["run"], "sink")?;
    let told = wait_for("the reason in the log", PATIENCE, || {
        Ok(sink.log()?.contains("certificate verify failed").then_some(()))
    });
    serve_certificate(&scenario, "broker.p12")?;
    told.with_context(|| sink.tail())?;
    sink.wait_for_metric("s3_sink_rows_stored_total", 100.0)?;
    leave([&mut sink])?;
    assert_eq!(scenario.finish(all)?.rows, 100);
    Ok(())
}

/// Has every broker serve another certificate, without a restart.
fn serve_certificate(scenario: &Scenario, name: &str) -> Result<()> {
    let cluster = scenario.cluster()?;
    let store = cluster.facts().certificate(name);
    let config = format!("listener.name.secure.ssl.keystore.location={}", store.display());
    for broker in 1..=BROKERS {
        let broker = broker.to_string();
        let entity = ["--entity-type", "brokers", "--entity-name", &broker];
        let change = [&["--alter"], &entity[..], &["--add-config", &config]].concat();
        cluster.tool("kafka-configs", &change)?;
    }
    Ok(())
}
