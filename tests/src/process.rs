//! The workspace's binaries as child processes: their logs in files, their end by signal or kill.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{tally, wait_for};

/// Longest time for a process to start or to end.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Where cargo put the binary `name` of this workspace.
pub fn binary(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    // A test lies in target/PROFILE/deps, the demo in target/PROFILE.
    let folders = this.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| {
        format!("the binary {name} is not built: run `cargo build --workspace` first")
    })
}

/// A running binary. It is killed when dropped.
#[derive(Debug)]
pub struct Process {
    binary: String,
    name: String,
    child: Child,
    log: PathBuf,
    output: PathBuf,
}

impl Process {
    /// Starts `binary_name` with `arguments`, its environment reduced to `environment`, its stderr
    /// in `folder/label.log` and its stdout in `folder/label.out`.
    pub fn start(
        binary_name: &str,
        arguments: &[&str],
        environment: &[(String, String)],
        folder: &Path,
        label: &str,
    ) -> Result<Self> {
        let (log, output) =
            (folder.join(format!("{label}.log")), folder.join(format!("{label}.out")));
        let child = Command::new(binary(binary_name)?)
            .args(arguments)
            // Settings and credentials of the machine must not leak into a test.
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(File::create(&output)?)
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("{binary_name} can't be started"))?;
        Ok(Self { binary: binary_name.to_owned(), name: label.to_owned(), child, log, output })
    }

    /// Asks it to end, as an orchestrator does.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Asks it to end, and fails unless it does so in order. One that has just been started does not
    /// hear that before it has begun to listen for signals, which its admin server comes after.
    pub fn leave(&mut self) -> Result<()> {
        wait_for(&format!("{} to listen", self.name), PATIENCE, || {
            Ok((self.admin_addr()?.is_some() || !self.is_running()?).then_some(()))
        })?;
        if self.is_running()? {
            self.terminate()?;
        }
        self.wait_success()
    }

    /// Stops it where it stands, as a long pause does; it continues with [`Process::resume`].
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Continues after [`Process::pause`].
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)?;
        tally::count(&format!("{} woken up after SIGSTOP", self.binary))
    }

    /// `kill -9`, and waits until it is gone. Fails if it had ended by itself.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        let status = self.child.wait()?;
        let is_killed = status.signal() == Some(Signal::KILL.as_raw());
        ensure!(is_killed, "{} had ended with {status}\n{}", self.name, self.tail());
        tally::count(&format!("kill -9 of {}", self.binary))
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        wait_for(&what, PATIENCE, || self.ended()).with_context(|| self.tail())
    }

    /// Waits until it ends, and fails unless it succeeded.
    pub fn wait_success(&mut self) -> Result<()> {
        let status = self.wait()?;
        if status.success() {
            Ok(())
        } else {
            bail!("{} ended with {status}\n{}", self.name, self.tail())
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.ended()?.is_none())
    }

    /// Its number, under which `/proc` knows it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it has had resident so far, in bytes.
    pub fn peak_memory_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.trim().strip_suffix(" kB")).context("no VmHWM")?;
        Ok(kib.parse::<u64>()? << 10)
    }

    /// Everything on stderr so far.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }

    /// Everything on stdout so far.
    pub fn output(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.output)?).into_owned())
    }

    /// The value of an unlabelled metric, or of one series written with its labels; `None` where
    /// there is no such series yet, and while the process does not answer.
    pub fn metric(&self, series: &str) -> Result<Option<f64>> {
        let Some(metrics) = self.get("/metrics")? else { return Ok(None) };
        value_in(&metrics, series)
    }

    /// The same, where there must be one.
    pub fn value(&self, series: &str) -> Result<f64> {
        let what = format!("/metrics of {}", self.name);
        let metrics = wait_for(&what, PATIENCE, || self.get("/metrics"))?;
        value_in(&metrics, series)?.with_context(|| format!("{} has no {series}", self.name))
    }

    /// Waits until a metric reaches `least`.
    pub fn wait_for_metric(&mut self, series: &str, least: f64) -> Result<()> {
        let what = format!("{series} of {} to reach {least}", self.name);
        wait_for(&what, PATIENCE, || {
            if !self.is_running()? {
                bail!("{} has ended\n{}", self.name, self.tail());
            }
            Ok(self.metric(series)?.filter(|value| *value >= least))
        })
        .with_context(|| self.tail())
        .map(|_| ())
    }

    /// Waits until `/readyz` says yes.
    pub fn wait_ready(&mut self) -> Result<()> {
        let what = format!("{} to be ready", self.name);
        wait_for(&what, PATIENCE, || {
            if !self.is_running()? {
                bail!("{} has ended\n{}", self.name, self.tail());
            }
            Ok(self.request("/readyz")?.filter(|(status, _)| *status == 200).map(|_| ()))
        })
        .with_context(|| self.tail())
    }

    /// The answer of the admin server, if it is there and says 200.
    pub fn get(&self, path: &str) -> Result<Option<String>> {
        Ok(self.request(path)?.filter(|(status, _)| *status == 200).map(|(_, body)| body))
    }

    /// Status and body of the admin server's answer, if it is there.
    pub fn request(&self, path: &str) -> Result<Option<(u16, String)>> {
        self.ask("GET", path)
    }

    /// The same for a POST without a body.
    pub fn post(&self, path: &str) -> Result<Option<(u16, String)>> {
        self.ask("POST", path)
    }

    fn ask(&self, method: &str, path: &str) -> Result<Option<(u16, String)>> {
        let Some(addr) = self.admin_addr()? else { return Ok(None) };
        let Ok(mut stream) = TcpStream::connect(&addr) else { return Ok(None) };
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        let asked = stream.write_all(request.as_bytes());
        if asked.and_then(|()| stream.read_to_string(&mut answer)).is_err() {
            return Ok(None);
        }
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        Ok(status.zip(body))
    }

    /// The address in the line that services log when their admin server listens.
    pub fn admin_addr(&self) -> Result<Option<String>> {
        let log = self.log()?;
        let mut lines =
            log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let addr = lines.find_map(|line| {
            let fields = line.get("fields").unwrap_or(&line);
            let is_it = fields.get("message")?.as_str()? == "admin server listens";
            is_it.then(|| fields.get("addr")?.as_str().map(str::to_owned)).flatten()
        });
        Ok(addr)
    }

    /// The end of its log, for messages of failure.
    pub fn tail(&self) -> String {
        const LINES: usize = 40;
        let log = self.log().unwrap_or_default();
        let skip = log.lines().count().saturating_sub(LINES);
        let lines: Vec<_> = log.lines().skip(skip).collect();
        format!("--- the last lines of {}\n{}", self.log.display(), lines.join("\n"))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("no pid")?;
        Ok(kill_process(pid, signal)?)
    }
}

fn value_in(metrics: &str, series: &str) -> Result<Option<f64>> {
    let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    Ok(value.map(str::parse).transpose()?)
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
