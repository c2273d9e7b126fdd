//! The Arrow schema of every object: the nine fields of [`Person`](crate::Person) and where the
//! message came from. Column names, types and field ids are frozen by a golden file: readers and
//! table formats rely on them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// The key under which Arrow fields carry their Parquet field id.
const FIELD_ID_KEY: &str = "PARQUET:field_id";

/// `kafka_partition`, int32.
pub const KAFKA_PARTITION: &str = "kafka_partition";
/// `kafka_offset`, int64.
pub const KAFKA_OFFSET: &str = "kafka_offset";
/// `kafka_timestamp`, milliseconds since the epoch, UTC.
pub const KAFKA_TIMESTAMP: &str = "kafka_timestamp";

/// The schema of a stored object. No column is nullable; field ids are 1 ..= 12 in column order.
///
/// `zip` is text because no other type holds 128 bits exactly in every reader: decimals of 39
/// digits read as doubles in DuckDB and not at all in Polars or Spark.
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let timestamp = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        let columns = [
            ("name", DataType::Utf8),
            ("gender", DataType::Utf8),
            ("address", DataType::Utf8),
            ("city", DataType::Utf8),
            ("nation", DataType::Utf8),
            ("zip", DataType::Utf8),
            ("latitude", DataType::Float64),
            ("longitude", DataType::Float64),
            ("email", DataType::Utf8),
            (KAFKA_PARTITION, DataType::Int32),
            (KAFKA_OFFSET, DataType::Int64),
            (KAFKA_TIMESTAMP, timestamp),
        ];
        let fields: Vec<Field> = columns
            .into_iter()
            .zip(1..)
            .map(|((name, data_type), id)| {
                let metadata = HashMap::from([(FIELD_ID_KEY.to_owned(), i32::to_string(&id))]);
                Field::new(name, data_type, false).with_metadata(metadata)
            })
            .collect();
        Arc::new(Schema::new(fields))
    });
    SCHEMA.clone()
}
