//! The ingestor, from the bytes of the API's pages to the last delivery report.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use indicatif::{HumanBytes, HumanCount};
use local_stack::{ApiOptions, ApiServer};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::usage::{Usage, until_they_end};
use crate::world::{PATIENCE, World};

/// The most that the API gives for one request.
pub const PAGE_USERS: u64 = 5000;
/// Different pages, which come over and over again.
const PAGES: u64 = 8;
const PARTITIONS: i32 = 6;

/// What the ingestor's process took.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whose figures these are.
    pub name: String,
    /// Users fetched and produced.
    pub users: u64,
    /// JSON for one user, uncompressed.
    pub page_bytes_per_user: f64,
    /// User and system time of the process, its start included, for each user.
    pub cpu_microseconds_per_user: f64,
    /// Over the run.
    pub users_per_second: f64,
    /// The most memory that the process has had resident.
    pub peak_rss_bytes: u64,
}

/// What the ingestor says of its run.
#[derive(Debug, Deserialize)]
struct Summary {
    users: u64,
    delivered: u64,
    seconds: f64,
}

/// Lets the ingestor take `pages` of [`PAGE_USERS`] users, and checks that all are on the topic.
pub fn run(pages: u64) -> Result<Report> {
    let world = World::new("ingest", None)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (folder, page_bytes) = record_pages(&world, &runtime)?;
    let replay = ApiOptions { replay: Some(folder.clone()), ..ApiOptions::default() };
    let api = ApiServer::open(replay, runtime.handle())?;
    std::fs::remove_dir_all(folder)?;
    let world = world
        .with("API_URL", api.url())
        .with("API_RESULTS", &PAGE_USERS.to_string())
        .with("RUN_REQUESTS_MAX", &pages.to_string())
        .with("PAUSE_SECONDS", "0")
        .with("STREAMING_SECONDS", "1h");
    world.with_topic(PARTITIONS, |topic| {
        let (summary, usage) = ingest(&world)?;
        let Summary { users, delivered, seconds } = summary;
        let contents = topic.contents()?;
        ensure!(
            [users, delivered, contents.messages] == [pages * PAGE_USERS; 3],
            "{pages} pages, {users} users, {delivered} delivered, {} on the topic",
            contents.messages
        );
        Ok(Report {
            name: "ingestor".to_owned(),
            users,
            page_bytes_per_user: page_bytes as f64 / (PAGES * PAGE_USERS) as f64,
            cpu_microseconds_per_user: usage.cpu_seconds * 1e6 / users as f64,
            users_per_second: users as f64 / seconds,
            peak_rss_bytes: usage.peak_memory_bytes,
        })
    })
}

/// Keeps some of the API's pages in files, so that making users takes no time of the run. Returns
/// their folder and their size.
fn record_pages(world: &World, runtime: &Runtime) -> Result<(PathBuf, usize)> {
    let folder = world.folder().join("pages");
    std::fs::create_dir_all(&folder)?;
    let api = ApiServer::open(ApiOptions::default(), runtime.handle())?;
    let mut bytes = 0;
    for number in 0..PAGES {
        let url = format!("{}?results={PAGE_USERS}&seed=bench&page={number}", api.url());
        let page = runtime
            .block_on(async { reqwest::get(url).await?.error_for_status()?.bytes().await })?;
        bytes += page.len();
        std::fs::write(folder.join(format!("{number}.json")), page)?;
    }
    Ok((folder, bytes))
}

fn ingest(world: &World) -> Result<(Summary, Usage)> {
    let mut process = [world.start("ingestor", &["run"], "ingestor")?];
    let usages = until_they_end(&mut process, PATIENCE)?;
    let output = process[0].output()?;
    let summary = serde_json::from_str(&output)
        .with_context(|| format!("the ingestor's summary: {output}"))?;
    Ok((summary, usages.first().copied().context("no process")?))
}

impl Report {
    /// For people.
    pub fn summary(&self) -> String {
        format!(
            "{} users of {:.0} B in pages of {PAGE_USERS}: {:.2} CPU microseconds per user, \
             {} users/s, {} resident",
            HumanCount(self.users),
            self.page_bytes_per_user,
            self.cpu_microseconds_per_user,
            HumanCount(self.users_per_second as u64),
            HumanBytes(self.peak_rss_bytes),
        )
    }
}
