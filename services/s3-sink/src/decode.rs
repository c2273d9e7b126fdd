//! Payloads → Arrow columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, TimestampMillisecondArray,
};
use arrow::error::ArrowError;
use chunk_ledger::{Mark, Partition};
use pipeline_model::message::PersonRef;
use pipeline_model::schema;

use text::Text;

mod text;

/// Bytes of a row besides its text: two floats, a partition, an offset, a timestamp, and the
/// offsets of seven text columns.
const FIXED_BYTES_PER_ROW: u64 = 2 * 8 + 4 + 8 + 8 + 7 * 4;

/// A column that is full doubles its memory.
const GROWTH: u64 = 2;

/// The most memory that a message with a payload of `payload_bytes` adds to the columns: JSON never
/// spells text shorter than it is.
pub fn row_memory_bytes_max(payload_bytes: usize) -> u64 {
    (payload_bytes as u64 + FIXED_BYTES_PER_ROW) * GROWTH
}

/// The most memory that columns take for so many bytes.
pub fn columns_memory_bytes(bytes: u64) -> u64 {
    bytes * GROWTH
}

/// Rows of one partition in the making, in the column order of [`schema::schema`].
///
/// Plain vectors, since no column has nulls: Arrow's builders spend as much time on what they
/// could hold besides as on the values. Without rows they take no memory: most lanes may have no
/// chunk open.
#[derive(Debug, Default)]
pub struct Columns {
    name: Text,
    gender: Text,
    address: Text,
    city: Text,
    nation: Text,
    zip: Text,
    latitude: Vec<f64>,
    longitude: Vec<f64>,
    email: Text,
    partition: Vec<i32>,
    offset: Vec<i64>,
    timestamp: Vec<i64>,
    bytes: u64,
}

impl Columns {
    /// Appends one row. A message is decoded as a whole before, so that there are no half rows.
    pub fn push(&mut self, person: &PersonRef<'_>, partition: Partition, mark: Mark) {
        let text_bytes = self.name.push(&person.name)
            + self.gender.push(&person.gender)
            + self.address.push(&person.address)
            + self.city.push(&person.city)
            + self.nation.push(&person.nation)
            + self.zip.push(person.zip)
            + self.email.push(&person.email);
        self.latitude.push(person.latitude);
        self.longitude.push(person.longitude);
        self.partition.push(partition.0);
        self.offset.push(mark.offset.0);
        self.timestamp.push(mark.timestamp.0);
        self.bytes += FIXED_BYTES_PER_ROW + text_bytes as u64;
    }

    /// Bytes in the columns.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the rows and leaves the columns empty.
    pub fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        let rows = std::mem::take(self);
        let timestamp = TimestampMillisecondArray::from(rows.timestamp).with_timezone("UTC");
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.name.finish()),
            Arc::new(rows.gender.finish()),
            Arc::new(rows.address.finish()),
            Arc::new(rows.city.finish()),
            Arc::new(rows.nation.finish()),
            Arc::new(rows.zip.finish()),
            Arc::new(Float64Array::from(rows.latitude)),
            Arc::new(Float64Array::from(rows.longitude)),
            Arc::new(rows.email.finish()),
            Arc::new(Int32Array::from(rows.partition)),
            Arc::new(Int64Array::from(rows.offset)),
            Arc::new(timestamp),
        ];
        RecordBatch::try_new(schema::schema(), columns)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use arrow::array::AsArray;
    use chunk_ledger::{Offset, Timestamp};
    use pipeline_model::message;

    #[test]
    fn a_message_becomes_a_row_of_the_schema() {
        let payload = r#"{"name":"Ms. Zoé K","gender":"f","address":"1, x","city":"c","nation":"n","zip":340282366920938463463374607431768211455,"latitude":1.5,"longitude":-2.5,"email":"e"}"#;
        let person = message::decode(payload.as_bytes()).unwrap();
        let mut columns = Columns::default();
        columns.push(
            &person,
            Partition(3),
            Mark { offset: Offset(7), timestamp: Timestamp(1_793_577_600_000) },
        );
        assert!(columns_memory_bytes(columns.bytes()) <= row_memory_bytes_max(payload.len()));
        let batch = columns.take().unwrap();
        assert_eq!((batch.num_rows(), columns.bytes()), (1, 0));
        assert_eq!(batch.schema(), schema::schema());
        assert_eq!(batch.column(0).as_string::<i32>().value(0), "Ms. Zoé K");
        assert_eq!(batch.column(5).as_string::<i32>().value(0), u128::MAX.to_string());
    }

    #[test]
    fn the_columns_take_no_more_memory_than_they_say() {
        let payload = r#"{"name":"Ms. Zoé K","gender":"f","address":"1, x","city":"","nation":"n","zip":7,"latitude":1.5,"longitude":-2.5,"email":"e@example.com"}"#;
        let person = message::decode(payload.as_bytes()).unwrap();
        let mut columns = Columns::default();
        for offset in 0..10_000 {
            let mark = Mark { offset: Offset(offset), timestamp: Timestamp(0) };
            columns.push(&person, Partition(3), mark);
            // The smallest allocation of each column is more than a few rows need.
            let said = columns_memory_bytes(columns.bytes()) + 512;
            let allocated = allocated_bytes(&columns) as u64;
            assert!(allocated <= said, "{offset}: {allocated} of {said} bytes");
        }
        assert!(columns.bytes() <= allocated_bytes(&columns) as u64, "no more than there is");
    }

    fn allocated_bytes(columns: &Columns) -> usize {
        let text = [
            &columns.name,
            &columns.gender,
            &columns.address,
            &columns.city,
            &columns.nation,
            &columns.zip,
            &columns.email,
        ];
        let text = text.map(|column| column.allocated_bytes());
        let eight = [columns.latitude.capacity(), columns.longitude.capacity()];
        let marks = [columns.offset.capacity(), columns.timestamp.capacity()];
        text.iter().sum::<usize>()
            + 8 * (eight.iter().sum::<usize>() + marks.iter().sum::<usize>())
            + 4 * columns.partition.capacity()
    }
}
