//! What processes have used, from `/proc`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e_tests::process::Process;
use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// Often enough to miss little of a peak that comes right before the end.
const INTERVAL: Duration = Duration::from_millis(20);

/// What one process has used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time of all its threads, those that have ended included.
    pub cpu_seconds: f64,
    /// The most memory that it has had resident.
    pub peak_memory_bytes: u64,
}

/// Waits until every process has ended with success; what each has used until then.
pub fn until_they_end(processes: &mut [Process], limit: Duration) -> Result<Vec<Usage>> {
    let deadline = Instant::now() + limit;
    let mut usages = vec![None; processes.len()];
    let mut peaks = vec![0; processes.len()];
    while usages.iter().any(Option::is_none) {
        for ((process, usage), peak) in processes.iter_mut().zip(&mut usages).zip(&mut peaks) {
            // Gone with the process.
            *peak = process.peak_memory_bytes().unwrap_or(*peak);
            if usage.is_none() && has_ended(process)? {
                let cpu_seconds = cpu_seconds(process.id())?;
                *usage = Some(Usage { cpu_seconds, peak_memory_bytes: *peak });
                let status = process.wait()?;
                ensure!(status.success(), "a process ended with {status}\n{}", process.tail());
            }
        }
        if Instant::now() >= deadline {
            bail!("waited {limit:?} in vain for the processes to end\n{}", processes[0].tail());
        }
        std::thread::sleep(INTERVAL);
    }
    Ok(usages.into_iter().flatten().collect())
}

/// User and system time of a process so far, also of one that has ended and was not waited for.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    // The second field is the name in brackets, which may hold anything; user time is the 14th.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' ').skip(11));
    let ticks = fields.and_then(|fields| {
        fields.take(2).map(|ticks| ticks.parse::<u64>().ok()).sum::<Option<u64>>()
    });
    let ticks = ticks.with_context(|| format!("{path} is not understood: {stat}"))?;
    Ok(ticks as f64 / clock_ticks_per_second() as f64)
}

/// Whether it has ended. It is not waited for, so that `/proc` still tells what it has used.
fn has_ended(process: &Process) -> Result<bool> {
    let pid = Pid::from_raw(i32::try_from(process.id())?).context("no pid")?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(pid), options)?.is_some())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn cpu_time_is_counted() {
        let pid = std::process::id();
        let before = cpu_seconds(pid).unwrap();
        let mut sum = 0_u64;
        while cpu_seconds(pid).unwrap() < before + 0.05 {
            sum = std::hint::black_box((0..100_000_u64).fold(sum, u64::wrapping_add));
        }
    }
}
