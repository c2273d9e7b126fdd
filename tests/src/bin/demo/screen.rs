//! What the person in front of the demo sees: numbered steps, and below each one what goes on. On a
//! terminal that is one line that changes, elsewhere a line a second.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use e2e_tests::process::PATIENCE;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use service_kit::shutdown::Shutdown;

/// Columns before each line of a step.
pub(crate) const INDENT: u16 = 3;
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
const LINE_INTERVAL: Duration = Duration::from_secs(1);
const LIVE_LINE: &str = "   {spinner} {wide_msg}";

/// One look at something that takes its time.
pub(crate) enum Look<T> {
    /// Not there yet; how far it is, in a line.
    Waiting(String),
    /// There.
    Done(T),
}

/// Stdout, and the signals that end the demo.
pub(crate) struct Screen {
    shutdown: Shutdown,
    is_terminal: bool,
    started: Instant,
    steps: u32,
}

impl Screen {
    pub(crate) fn new(shutdown: Shutdown) -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        Self { shutdown, is_terminal, started: Instant::now(), steps: 0 }
    }

    /// Begins the next step.
    pub(crate) fn step(&mut self, title: &str) {
        self.steps += 1;
        println!("{}. {title} ({} s)", self.steps, self.started.elapsed().as_secs());
    }

    /// A line of the current step that stays.
    pub(crate) fn say(&self, line: &str) {
        let width = usize::from(INDENT);
        println!("{}", format!("{:width$}{line}", "").trim_end());
    }

    /// Looks again and again until it is done, and shows meanwhile how far it is. Fails after a
    /// signal, or when `what` does not come in time.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        mut look: impl FnMut() -> Result<Look<T>>,
    ) -> Result<T> {
        let live = LiveLine::new(self.is_terminal)?;
        let deadline = Instant::now() + PATIENCE;
        let mut next_line = Instant::now() + LINE_INTERVAL;
        loop {
            if let Some(cause) = self.shutdown.cause() {
                bail!("ended by a signal: {cause:?}");
            }
            let progress = match look()? {
                Look::Done(value) => return Ok(value),
                Look::Waiting(progress) => progress,
            };
            if Instant::now() >= deadline {
                bail!("waited {PATIENCE:?} in vain for {what}; last seen: {progress}");
            }
            match &live {
                LiveLine(Some(bar)) => {
                    bar.set_message(progress);
                    bar.tick();
                }
                LiveLine(None) if Instant::now() >= next_line => {
                    self.say(&progress);
                    next_line += LINE_INTERVAL;
                }
                LiveLine(None) => {}
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
}

/// The line that changes; gone when dropped. Nothing where there is no terminal.
struct LiveLine(Option<ProgressBar>);

impl LiveLine {
    fn new(is_terminal: bool) -> Result<Self> {
        if !is_terminal {
            return Ok(Self(None));
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
        bar.set_style(ProgressStyle::with_template(LIVE_LINE)?);
        Ok(Self(Some(bar)))
    }
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
