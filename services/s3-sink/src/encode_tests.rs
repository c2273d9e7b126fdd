#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use arrow::array::AsArray;
use chunk_ledger::{Offset, OffsetRange, Timestamp, WriterId, from_metadata};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaData;

use super::*;

fn person(name: &str) -> PersonRef<'_> {
    PersonRef {
        name: name.into(),
        gender: "female".into(),
        address: "1, Rue".into(),
        city: "Lyon".into(),
        nation: "France".into(),
        zip: "340282366920938463463374607431768211455",
        latitude: 45.75,
        longitude: -4.85,
        email: "z@example.com".into(),
    }
}

fn mark(offset: i64) -> Mark {
    Mark { offset: Offset(offset), timestamp: Timestamp(1_793_577_600_000 + offset) }
}

fn chunk(rows: u64) -> Chunk {
    Chunk {
        partition: Partition(3),
        range: OffsetRange { start: Offset(0), end: Offset(rows as i64) },
        first: mark(0),
        last_timestamp: mark(rows as i64).timestamp,
        rows,
        rejected: 0,
        gaps: 0,
        writer: WriterId(7),
    }
}

/// An encoder that holds `rows` rows, whose names hold `name_bytes` bytes each.
fn encoder(rows: u64, name_bytes: usize, part_bytes: usize) -> ChunkEncoder {
    let mut encoder = ChunkEncoder::new(writer_properties().into(), part_bytes);
    for offset in 0..rows as i64 {
        let name = format!("{offset:0name_bytes$}");
        encoder.append(&person(&name), Partition(3), mark(offset)).unwrap();
    }
    encoder
}

/// Such an object in one piece, and how large it was estimated to be.
fn object(rows: u64, name_bytes: usize) -> (Bytes, u64) {
    let encoder = encoder(rows, name_bytes, usize::MAX);
    let estimate = encoder.object_bytes();
    let mut closed = encoder.close("t", &chunk(rows)).unwrap();
    let object = closed.rest.pop().unwrap();
    assert!(closed.rest.is_empty());
    assert_eq!(closed.object_bytes, object.len() as u64);
    (object, estimate)
}

fn metadata(object: &Bytes) -> ParquetMetaData {
    ParquetRecordBatchReaderBuilder::try_new(object.clone()).unwrap().metadata().as_ref().clone()
}

#[test]
fn rows_come_back_as_they_went_in() {
    let (object, _) = object(1000, 8);
    let reader = ParquetRecordBatchReaderBuilder::try_new(object)
        .unwrap()
        .with_batch_size(1000)
        .build()
        .unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1000);
    let zip = batches[0].column(5).as_string::<i32>();
    assert!(zip.iter().all(|zip| zip == Some("340282366920938463463374607431768211455")));
    let offsets = batches[0].column(10).as_primitive::<arrow::datatypes::Int64Type>();
    assert!(offsets.values().iter().copied().eq(0..1000));
}

#[test]
fn the_object_carries_field_ids_statistics_zstd_and_its_chunk() {
    let (object, _) = object(10, 8);
    let metadata = metadata(&object);
    let schema = metadata.file_metadata().schema_descr();
    for index in 0..12 {
        assert_eq!(schema.column(index).self_type().get_basic_info().id(), index as i32 + 1);
        let column = metadata.row_group(0).column(index);
        assert!(matches!(column.compression(), Compression::ZSTD(_)), "{}", column.column_path());
        let without_order =
            ["name", "address", "zip", "email"].contains(&schema.column(index).name());
        assert_eq!(column.statistics().is_none(), without_order, "{}", column.column_path());
        let encoding = match schema.column(index).name() {
            "gender" | "city" | "nation" | "kafka_partition" => Encoding::RLE_DICTIONARY,
            "kafka_offset" | "kafka_timestamp" => Encoding::DELTA_BINARY_PACKED,
            "latitude" | "longitude" => Encoding::PLAIN,
            _ => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        };
        let encodings: Vec<_> = column.encodings().collect();
        assert!(encodings.contains(&encoding), "{}: {encodings:?}", column.column_path());
    }
    let pairs = metadata.file_metadata().key_value_metadata().unwrap();
    let get = |name: &str| {
        let key = format!("{FOOTER_PREFIX}{name}");
        pairs.iter().find(|pair| pair.key == key)?.value.as_deref()
    };
    assert_eq!(from_metadata("t", get), Ok(chunk(10)));
}

#[test]
fn a_chunk_of_dead_letters_alone_is_valid_parquet_without_rows() {
    let (object, _) = object(0, 8);
    let metadata = metadata(&object);
    assert_eq!(metadata.file_metadata().num_rows(), 0);
    assert_eq!(metadata.file_metadata().schema_descr().num_columns(), 12);
}

#[test]
fn row_groups_leave_the_columns_as_they_fill() {
    let rows = 3 * ROW_GROUP_BYTES / 1000;
    let (object, estimate) = object(rows, 900);
    let metadata = metadata(&object);
    assert!(metadata.num_row_groups() >= 3, "{}", metadata.num_row_groups());
    assert_eq!(metadata.file_metadata().num_rows(), rows as i64);
    let remembered = metadata.memory_size() / metadata.num_row_groups();
    assert!((remembered as u64) < ROW_GROUP_METADATA_BYTES, "{remembered}");
    let error = object.len() as f64 / estimate as f64;
    assert!((0.5..2.0).contains(&error), "estimated {estimate}, got {}", object.len());
}

#[test]
fn taken_parts_and_the_rest_are_the_object_in_one_piece() {
    const PART_BYTES: usize = 512;
    let rows = 20_000;
    let (whole, _) = object(rows, 8);
    let mut encoder = encoder(rows, 8, PART_BYTES);
    let waiting = encoder.waiting_bytes();
    assert!(
        waiting > 1 << 20 && encoder.take_parts().unwrap().is_empty(),
        "nothing is compressed yet"
    );
    encoder.close_row_group().unwrap();
    assert_eq!(encoder.waiting_bytes(), 0);
    let held = encoder.memory_bytes();
    let parts = encoder.take_parts().unwrap();
    assert!(parts.len() > 10 && parts.iter().all(|part| part.len() == PART_BYTES));
    let left = held - encoder.memory_bytes();
    assert_eq!(left, (parts.len() * PART_BYTES) as u64, "what was taken is not held");
    let Closed { rest, object_bytes } = encoder.close("t", &chunk(rows)).unwrap();
    let cut = [parts, rest].concat();
    assert_eq!(object_bytes, whole.len() as u64);
    assert_eq!(cut.concat(), whole);
}

#[test]
fn a_thread_that_encodes_changes_no_byte() {
    let rows = 3 * ROW_GROUP_BYTES / 1000;
    let (whole, _) = object(rows, 900);
    let thread = EncodingThread::spawn().unwrap();
    let mut handed_over = 0;
    // Each time the thread may be too slow to take a row group; which one it takes does not matter.
    while handed_over == 0 {
        let encoder = ChunkEncoder::new(writer_properties().into(), usize::MAX);
        let mut encoder = encoder.with_thread(Some(thread.clone()));
        for offset in 0..rows as i64 {
            let name = format!("{offset:0900}");
            let is_full = encoder.append(&person(&name), Partition(3), mark(offset)).unwrap();
            handed_over += u64::from(is_full && encoder.is_encoding());
        }
        let Closed { rest, object_bytes } = encoder.close("t", &chunk(rows)).unwrap();
        assert_eq!(object_bytes, whole.len() as u64);
        assert_eq!(rest.concat(), whole);
    }
}

#[test]
fn what_the_thread_has_counts_until_it_is_back() {
    const PART_BYTES: usize = 512;
    let thread = EncodingThread::spawn().unwrap();
    let encoder = ChunkEncoder::new(writer_properties().into(), PART_BYTES);
    let mut encoder = encoder.with_thread(Some(thread));
    let mut offset = 0;
    while !encoder.is_encoding() {
        let name = format!("{offset:08}");
        encoder.append(&person(&name), Partition(3), mark(offset)).unwrap();
        offset += 1;
    }
    assert!(encoder.memory_bytes() >= ROW_GROUP_BYTES, "{}", encoder.memory_bytes());
    encoder.finish_encoding().unwrap();
    assert!(!encoder.is_encoding());
    let parts = encoder.take_parts().unwrap();
    assert!(!parts.is_empty());
    assert!(encoder.memory_bytes() < ROW_GROUP_BYTES, "{}", encoder.memory_bytes());
}
