#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use chunk_ledger::{Mark, Partition, Timestamp, WriterId};
use parquet::arrow::ArrowWriter;

use super::*;

const KEY: &str = "k";

/// Offsets 100..110 of partition 3; 104 was rejected.
fn chunk() -> Chunk {
    Chunk {
        partition: Partition(3),
        range: OffsetRange { start: Offset(100), end: Offset(110) },
        first: Mark { offset: Offset(100), timestamp: Timestamp(0) },
        last_timestamp: Timestamp(9),
        rows: 9,
        rejected: 1,
        gaps: 0,
        writer: WriterId(7),
    }
}

fn rows() -> Vec<(i32, i64)> {
    (100..110).filter(|offset| *offset != 104).map(|offset| (3, offset)).collect()
}

fn column(name: &str, rows: &[(i32, i64)]) -> ArrayRef {
    let offsets = || rows.iter().map(|(_, offset)| *offset);
    match name {
        KAFKA_PARTITION => {
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|(partition, _)| *partition)))
        }
        KAFKA_OFFSET => Arc::new(Int64Array::from_iter_values(offsets())),
        "kafka_timestamp" => {
            Arc::new(TimestampMillisecondArray::from_iter_values(offsets()).with_timezone("UTC"))
        }
        "latitude" | "longitude" => Arc::new(Float64Array::from(vec![0.5; rows.len()])),
        _ => Arc::new(StringArray::from(vec!["text"; rows.len()])),
    }
}

fn parquet(schema: SchemaRef, footer: &Chunk, rows: &[(i32, i64)]) -> Bytes {
    let columns = schema.fields().iter().map(|field| column(field.name(), rows)).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
    writer.write(&batch).unwrap();
    for (key, value) in to_metadata("t", footer) {
        writer.append_key_value_metadata(KeyValue::new(format!("{FOOTER_PREFIX}{key}"), value));
    }
    writer.into_inner().unwrap().into()
}

fn problems(object: Bytes, letters: &[i64]) -> Vec<String> {
    let letters = letters.iter().map(|offset| Offset(*offset)).collect();
    let contents = verify("t", KEY, object, &chunk(), &letters);
    contents.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn an_object_as_it_should_be_has_no_findings() {
    assert_eq!(problems(parquet(schema(), &chunk(), &rows()), &[104]), Vec::<String>::new());
}

#[test]
fn an_object_of_dead_letters_alone_may_have_no_rows() {
    let chunk = Chunk { rows: 0, rejected: 10, ..chunk() };
    let object = parquet(schema(), &chunk, &[]);
    let letters = (100..110).map(Offset).collect();
    assert_eq!(verify("t", KEY, object, &chunk, &letters), Contents::default());
}

#[test]
fn what_is_neither_row_nor_letter_is_missing() {
    type Case = (&'static [i64], &'static [i64], &'static [(i64, i64)]);
    // Offsets of rows; of letters; what is missing of 100..110.
    let cases: &[Case] = &[
        (&[100, 101, 103, 105, 106, 107, 108, 109], &[102], &[(104, 105)]),
        (&[103, 105], &[100, 104, 107], &[(101, 103), (106, 107), (108, 110)]),
        (&[], &[], &[(100, 110)]),
        // Rows that should not be there hide nothing.
        (&[99, 101, 100, 112], &[], &[(100, 101), (101, 110)]),
    ];
    for (rows, letters, expected) in cases {
        let rows: Vec<(i32, i64)> = rows.iter().map(|offset| (3, *offset)).collect();
        let object = parquet(schema(), &chunk(), &rows);
        let letters = letters.iter().map(|offset| Offset(*offset)).collect();
        let missing = verify("t", KEY, object, &chunk(), &letters).missing;
        let missing: Vec<_> = missing.iter().map(|range| (range.start.0, range.end.0)).collect();
        assert_eq!(missing, *expected, "{rows:?}");
    }
}

#[test]
fn wrong_rows_are_counted_with_an_example() {
    let mut rows = rows();
    rows[1] = (4, 100);
    rows[2] = (3, 99);
    rows[8] = (3, 110);
    let expected = [
        "rows: k holds 1 rows of another partition than 3, first partition 4 at offset 100",
        "rows: k holds 2 rows whose offset does not increase, first 100 after 100",
        "rows: k holds 2 rows outside of 100..110, first offset 99",
        "rows: k holds 2 rows that are dead letters, too, first offset 105",
    ];
    assert_eq!(problems(parquet(schema(), &chunk(), &rows), &[104, 105, 106]), expected);
}

#[test]
fn a_wrong_number_of_rows_is_named() {
    let object = parquet(schema(), &chunk(), &rows()[..8]);
    assert_eq!(problems(object, &[]), ["rows: k holds 8 rows, its metadata say 9"]);
}

#[test]
fn the_footer_must_agree_with_the_metadata() {
    let other = Chunk { rejected: 0, gaps: 1, ..chunk() };
    let expected =
        "parquet: k: its footer differs from its metadata: rejected=0, not 1; gaps=1, not 0";
    assert_eq!(problems(parquet(schema(), &other, &rows()), &[]), [expected]);
}

#[test]
fn another_schema_is_named() {
    let mut fields: Vec<_> = schema().fields().iter().cloned().collect();
    fields[0] = Arc::new(fields[0].as_ref().clone().with_name("first_name"));
    let found = problems(parquet(Arc::new(Schema::new(fields)), &chunk(), &rows()), &[]);
    let expected = "parquet: k: it has a column first_name Utf8 (required, id 1), \
                    where name Utf8 (required, id 1) should be";
    assert_eq!(found, [expected]);
    let fewer = Arc::new(Schema::new(schema().fields()[..11].to_vec()));
    let found = problems(parquet(fewer, &chunk(), &rows()), &[]);
    assert_eq!(found, ["parquet: k: it has 11 columns, not 12"]);
    let without = Arc::new(Schema::new(schema().fields()[..9].to_vec()));
    let found = problems(parquet(without, &chunk(), &rows()), &[]);
    assert!(found[1].contains("no kafka_partition int32"), "{found:?}");
}

#[test]
fn what_is_no_parquet_is_named() {
    let whole = parquet(schema(), &chunk(), &rows());
    for broken in [Bytes::from_static(b"not Parquet"), whole.slice(..whole.len() - 9), Bytes::new()]
    {
        let found = problems(broken, &[]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("parquet: k can't be read as Parquet: "), "{found:?}");
    }
}
