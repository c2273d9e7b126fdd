//! The real brokers and the real store of `make cluster-up`, for tests that make them fail.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use anyhow::{Context, Result, bail};
use local_stack::ProxyOptions;
use serde::Deserialize;

use crate::process::PATIENCE;
use crate::scenario::target_folder;
use crate::{tally, wait_for};

/// Brokers are numbered from 1 to this.
pub const BROKERS: u16 = 3;

/// Tests that harm a part for all others have the cluster for themselves.
static TURN: RwLock<()> = RwLock::new(());

/// A test's hold on the cluster.
#[derive(Debug)]
pub struct Cluster {
    facts: Facts,
    turn: Turn,
}

#[derive(Debug)]
#[expect(dead_code, reason = "guards are held, not read")]
enum Turn {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

/// What `deploy/cluster/cluster.py` says of the running cluster.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    command: PathBuf,
    /// For clients without credentials, which may do everything.
    pub bootstrap_servers: String,
    /// For clients by TLS and SCRAM-SHA-512, which may do what their ACLs say.
    pub secure_bootstrap_servers: String,
    /// Of broker 1; the others' follow. Clients that start here are sent to the proxy's ports.
    pub proxied_port: u16,
    /// Of broker 1, where a proxy is expected; the others' follow.
    pub proxy_port: u16,
    /// Folder of the certificates.
    pub tls: PathBuf,
    /// Address of the store.
    pub store: String,
    /// Its bucket.
    pub bucket: String,
    /// Its keys.
    pub access_key: String,
    /// The secret of these.
    pub secret_key: String,
    /// Where the bucket's objects lie as plain files.
    pub objects: PathBuf,
}

impl Cluster {
    /// Beside other tests: this one harms nothing but its own topic and its own requests.
    pub fn shared() -> Result<Self> {
        // A test that failed has poisoned nothing: whoever comes next mends the cluster first.
        let turn = TURN.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        Self::with(Turn::Shared(turn))
    }

    /// With no other test beside: this one harms brokers or the store.
    pub fn alone() -> Result<Self> {
        let turn = TURN.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let cluster = Self::with(Turn::Alone(turn))?;
        cluster.mend()?;
        Ok(cluster)
    }

    fn with(turn: Turn) -> Result<Self> {
        let path = target_folder()?.join("cluster/cluster.json");
        let facts = std::fs::read(&path).with_context(|| {
            format!("{}: is there a cluster? `make cluster-up` starts one", path.display())
        })?;
        Ok(Self { facts: serde_json::from_slice(&facts)?, turn })
    }

    /// Whether no other test runs beside.
    pub fn is_alone(&self) -> bool {
        matches!(self.turn, Turn::Alone(_))
    }

    /// Addresses and folders.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// `kill -9` of a part: `broker-1`, `broker-2`, `broker-3` or `store`.
    pub fn kill(&self, part: &str) -> Result<()> {
        self.run(["kill", part])?;
        tally::count(&format!("kill -9 of {part}"))
    }

    /// Starts a part that was killed, and waits until it answers.
    pub fn start(&self, part: &str) -> Result<()> {
        self.run(["start", part]).map(|_| ())
    }

    /// Starts whatever is down.
    fn mend(&self) -> Result<()> {
        self.run(["up"]).map(|_| ())
    }

    /// Runs one of Kafka's own command-line tools, such as `kafka-topics`, and returns its output.
    pub fn tool(&self, name: &str, arguments: &[&str]) -> Result<String> {
        self.run([&[name], arguments].concat())
    }

    /// Deletes a topic, and waits until it is gone.
    pub fn delete_topic(&self, topic: &str) -> Result<()> {
        self.tool("kafka-topics", &["--delete", "--topic", topic])?;
        wait_for("the topic to be gone", PATIENCE, || {
            let topics = self.tool("kafka-topics", &["--list"])?;
            Ok((!topics.lines().any(|line| line == topic)).then_some(()))
        })
    }

    fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        let done = Command::new("python3").arg(&self.facts.command).args(&arguments).output()?;
        let output = String::from_utf8_lossy(&done.stdout).into_owned();
        if !done.status.success() {
            let errors = String::from_utf8_lossy(&done.stderr);
            bail!("the cluster's {} failed:\n{output}{errors}", arguments.join(" "));
        }
        Ok(output)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.is_alone()
            && let Err(error) = self.mend()
        {
            eprintln!("the cluster is left as it is: {error:#}");
        }
    }
}

impl Facts {
    /// A proxy in front of each broker. The ports are fixed, so one test at a time can have them.
    pub fn proxies(&self) -> Vec<ProxyOptions> {
        let proxy = |broker| ProxyOptions {
            port: self.proxy_port + broker,
            upstream: (Ipv4Addr::LOCALHOST, self.proxied_port + broker).into(),
        };
        (0..BROKERS).map(proxy).collect()
    }

    /// A file of the certificates.
    pub fn certificate(&self, name: &str) -> PathBuf {
        Path::new(&self.tls).join(name)
    }
}
