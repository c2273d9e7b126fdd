//! The rows in the bucket, read from the plain Parquet files with none of the services' code.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMillisecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// One row: the nine fields and where the message came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// `name`, `gender`, `address`, `city`, `nation`, `zip`, `email`.
    pub text: [String; 7],
    /// `latitude`, `longitude`.
    pub coordinates: [f64; 2],
    /// `kafka_partition`.
    pub partition: i32,
    /// `kafka_offset`.
    pub offset: i64,
    /// `kafka_timestamp`, in ms.
    pub timestamp: i64,
}

/// Every Parquet file below `folder`, in the order of their paths.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        if !folder.exists() {
            continue;
        }
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Every row of every Parquet file below `folder`.
pub fn read(folder: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for file in files(folder)? {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file)?)
            .with_context(|| format!("{} is no Parquet file", file.display()))?
            .build()?;
        for batch in reader {
            append(&batch?, &mut rows)?;
        }
    }
    Ok(rows)
}

fn append(batch: &RecordBatch, rows: &mut Vec<Row>) -> Result<()> {
    let column = |name: &str| {
        batch.column_by_name(name).with_context(|| format!("there is no column {name}"))
    };
    let mut text = Vec::new();
    for name in ["name", "gender", "address", "city", "nation", "zip", "email"] {
        text.push(column(name)?.as_string::<i32>());
    }
    let latitude = column("latitude")?.as_primitive::<Float64Type>();
    let longitude = column("longitude")?.as_primitive::<Float64Type>();
    let partition = column("kafka_partition")?.as_primitive::<Int32Type>();
    let offset = column("kafka_offset")?.as_primitive::<Int64Type>();
    let timestamp = column("kafka_timestamp")?.as_primitive::<TimestampMillisecondType>();
    for index in 0..batch.num_rows() {
        anyhow::ensure!(
            batch.columns().iter().all(|column| column.is_valid(index)),
            "row {index} holds a null"
        );
        rows.push(Row {
            text: std::array::from_fn(|field| text[field].value(index).to_owned()),
            coordinates: [latitude.value(index), longitude.value(index)],
            partition: partition.value(index),
            offset: offset.value(index),
            timestamp: timestamp.value(index),
        });
    }
    Ok(())
}
