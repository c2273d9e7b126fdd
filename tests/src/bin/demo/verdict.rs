//! How it went: the audit by offsets, the comparison by values, and a look at the rows.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, presets};
use e2e_tests::rows::Row;
use e2e_tests::scenario::TOPIC;
use e2e_tests::{oracle, rows};
use indicatif::{HumanBytes, HumanCount};

use crate::pipeline::{Pipeline, readable};
use crate::screen::{INDENT, Look, Screen};

const SAMPLE_ROWS: usize = 8;

/// Runs the deep audit and shows what it says. Returns whether it is clean.
pub(crate) fn audit(pipeline: &Pipeline, screen: &Screen) -> Result<bool> {
    let arguments = ["audit", "--deep", "--expect-drained"];
    let mut audit = pipeline.process("pipectl", &arguments, &[], "audit")?;
    screen.until("the audit's end", || {
        Ok(match audit.is_running()? {
            true => Look::Waiting("reading every object".to_owned()),
            false => Look::Done(()),
        })
    })?;
    let status = audit.wait()?;
    let output = audit.output()?;
    for line in output.lines() {
        screen.say(line);
    }
    // With findings it ends with 1; anything else means that it could not be made.
    if !status.success() && status.code() != Some(1) {
        bail!("the audit ended with {status}\n{}", audit.tail());
    }
    Ok(status.success())
}

/// Compares every row with its message, shows some and where they lie, and ends with the line that
/// says it all. Returns whether all is well.
pub(crate) fn compare(
    pipeline: &Pipeline,
    delivered: u64,
    audit_is_clean: bool,
    screen: &Screen,
) -> Result<bool> {
    let messages = oracle::read_topic(&pipeline.bootstrap_servers()?, TOPIC)?;
    oracle::check_from_the_start(&messages)?;
    // For readers in other languages, which come when Kafka is gone.
    oracle::write_messages(&messages, pipeline.folder())?;
    let objects = pipeline.objects()?;
    let rows = rows::read(&objects)?;
    // The ingestor produces nothing but valid messages: each should be a row.
    let verdict = oracle::judge(&messages, |_| true, &rows)?;
    for line in sample(&rows).to_string().lines() {
        screen.say(line);
    }
    say_where(&objects, rows.len() as u64, screen)?;

    let mut problems = Vec::new();
    if !audit_is_clean {
        problems.push("the audit has findings, see above".to_owned());
    }
    if messages.len() as u64 != delivered {
        let held = messages.len();
        problems.push(format!("{delivered} messages were delivered, the topic holds {held}"));
    }
    for (what, coordinates) in [
        ("lost", &verdict.lost),
        ("duplicated", &verdict.duplicated),
        ("wrong in their values", &verdict.wrong),
    ] {
        if let Some((partition, offset)) = coordinates.first() {
            problems.push(format!(
                "{} messages are {what}, the first one at partition {partition} offset {offset}",
                coordinates.len()
            ));
        }
    }
    for problem in &problems {
        eprintln!("demo: {problem}");
    }
    if !problems.is_empty() {
        let folder = readable(pipeline.folder()).display();
        eprintln!("demo: look at {folder}/sink-1.log, {folder}/sink-2.log and {folder}/stack.log");
    }
    println!(
        "demo: {} messages in, {} rows out, {} lost, {} duplicated",
        messages.len(),
        rows.len(),
        verdict.lost.len(),
        verdict.duplicated.len()
    );
    Ok(problems.is_empty())
}

/// Some rows of as many nations, from all over the topic.
fn sample(rows: &[Row]) -> Table {
    let mut by_nation: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let [_, _, _, _, nation, ..] = &row.text;
        by_nation.entry(nation).or_default().push(row);
    }
    let nations: Vec<_> = by_nation.into_values().collect();
    let spread = |number: usize, of: usize| number * of / SAMPLE_ROWS;
    let chosen = (0..SAMPLE_ROWS.min(nations.len())).map(|number| {
        let of_nation = &nations[spread(number, nations.len().max(SAMPLE_ROWS))];
        of_nation[spread(number, of_nation.len())]
    });
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()))
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header([
            "name",
            "city",
            "nation",
            "zip",
            "latitude",
            "longitude",
            "kafka_\npartition",
            "kafka_\noffset",
        ]);
    for row in chosen {
        let [name, _, _, city, nation, zip, _] = &row.text;
        let [latitude, longitude] = row.coordinates;
        let mut cells = comfy_table::Row::from([
            name.clone(),
            city.clone(),
            nation.clone(),
            zip.clone(),
            format!("{latitude:.4}"),
            format!("{longitude:.4}"),
            row.partition.to_string(),
            row.offset.to_string(),
        ]);
        // On a narrow terminal text is cut rather than broken into lines.
        cells.max_height(1);
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for column in table.column_iter_mut().skip(4) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    // `None` where there is no terminal: then nothing is cut.
    if let Some(width) = table.width() {
        table.set_width(width.saturating_sub(INDENT));
    }
    table
}

fn say_where(objects: &Path, rows: u64, screen: &Screen) -> Result<()> {
    let files = rows::files(objects)?;
    let mut bytes = 0;
    for file in &files {
        bytes += file.metadata()?.len();
    }
    let folder = readable(objects).display();
    screen.say(&format!(
        "{} rows in {} Parquet files ({}) below {folder}; open them with",
        HumanCount(rows),
        files.len(),
        HumanBytes(bytes)
    ));
    screen.say(&format!(
        "  duckdb -c \"SELECT nation, count(*) AS people FROM read_parquet('{folder}/*/*.parquet', \
         hive_partitioning = true) GROUP BY nation ORDER BY people DESC\""
    ));
    screen.say(&format!("  python3 -c \"import pandas; print(pandas.read_parquet('{folder}'))\""));
    Ok(())
}
