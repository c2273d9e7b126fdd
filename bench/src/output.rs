//! What is printed for people, and what is left in target/bench for programs.

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, LineStyle, Table, presets};
use e2e_tests::scenario::target_folder;

/// A table whose first `texts` columns are text and whose others are figures.
pub fn table<const N: usize>(
    texts: usize,
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()))
        .set_header(header)
        .add_rows(rows);
    for figures in table.column_iter_mut().skip(texts) {
        figures.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Writes a file of target/bench and prints where it is.
pub fn leave(name: &str, text: &str) -> Result<()> {
    let path = target_folder()?.join("bench").join(name);
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    println!("{}", path.display());
    Ok(())
}
