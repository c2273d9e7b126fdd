//! Progress bars on stderr; invisible unless stderr is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

const BAR: &str = "{msg:22} {wide_bar} {human_pos}/{human_len} {eta:>4}";
const COUNTER: &str = "{spinner} {msg:20} {human_pos}";

/// A bar towards `len` steps, which vanishes when it is dropped.
pub(crate) fn bar(label: &'static str, len: u64) -> Progress {
    start(ProgressBar::new(len), BAR, label)
}

/// A counter of steps whose number nobody knows yet.
pub(crate) fn counter(label: &'static str) -> Progress {
    start(ProgressBar::new_spinner(), COUNTER, label)
}

/// One task under way.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// So many more steps are done.
    pub(crate) fn advance(&self, steps: u64) {
        self.0.inc(steps);
    }

    /// Something else that goes on meanwhile.
    pub(crate) fn say(&self, text: String) {
        self.0.set_message(text);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn start(bar: ProgressBar, template: &str, label: &'static str) -> Progress {
    // A template that does not parse costs the looks, not the audit.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(label);
    Progress(bar)
}
