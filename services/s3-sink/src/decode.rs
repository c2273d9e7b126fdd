//! Payloads → Arrow columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMillisecondBuilder,
};
use arrow::error::ArrowError;
use chunk_ledger::{Mark, Partition};
use pipeline_model::message::PersonRef;
use pipeline_model::schema;

/// Bytes of a row besides its text: two floats, a partition, an offset, a timestamp, and the
/// offsets of seven text columns.
const FIXED_BYTES_PER_ROW: u64 = 2 * 8 + 4 + 8 + 8 + 7 * 4;
/// Decimal digits of 2^128-1.
const ZIP_BYTES_MAX: u64 = 39;

/// A column that is full doubles its memory.
const GROWTH: u64 = 2;

/// The most memory that a message with a payload of `payload_bytes` adds to the columns: JSON never
/// spells text shorter than it is.
pub fn row_memory_bytes_max(payload_bytes: usize) -> u64 {
    (payload_bytes as u64 + FIXED_BYTES_PER_ROW + ZIP_BYTES_MAX) * GROWTH
}

/// Rows of one partition in the making, in the column order of [`schema::schema`].
#[derive(Debug)]
pub struct Columns {
    name: StringBuilder,
    gender: StringBuilder,
    address: StringBuilder,
    city: StringBuilder,
    nation: StringBuilder,
    zip: StringBuilder,
    latitude: Float64Builder,
    longitude: Float64Builder,
    email: StringBuilder,
    partition: Int32Builder,
    offset: Int64Builder,
    timestamp: TimestampMillisecondBuilder,
    bytes: u64,
}

impl Default for Columns {
    /// Takes no memory before the first row: most lanes may have no chunk open.
    fn default() -> Self {
        let text = || StringBuilder::with_capacity(0, 0);
        Self {
            name: text(),
            gender: text(),
            address: text(),
            city: text(),
            nation: text(),
            zip: text(),
            latitude: Float64Builder::with_capacity(0),
            longitude: Float64Builder::with_capacity(0),
            email: text(),
            partition: Int32Builder::with_capacity(0),
            offset: Int64Builder::with_capacity(0),
            timestamp: TimestampMillisecondBuilder::with_capacity(0).with_timezone("UTC"),
            bytes: 0,
        }
    }
}

impl Columns {
    /// Appends one row. A message is decoded as a whole before, so that there are no half rows.
    pub fn push(&mut self, person: &PersonRef<'_>, partition: Partition, mark: Mark) {
        let text_before = self.text_bytes();
        self.name.append_value(&person.name);
        self.gender.append_value(&person.gender);
        self.address.append_value(&person.address);
        self.city.append_value(&person.city);
        self.nation.append_value(&person.nation);
        self.email.append_value(&person.email);
        let mut digits = [0; ZIP_BYTES_MAX as usize];
        self.zip.append_value(decimal(person.zip, &mut digits));
        self.latitude.append_value(person.latitude);
        self.longitude.append_value(person.longitude);
        self.partition.append_value(partition.0);
        self.offset.append_value(mark.offset.0);
        self.timestamp.append_value(mark.timestamp.0);
        self.bytes += FIXED_BYTES_PER_ROW + (self.text_bytes() - text_before);
    }

    /// Bytes in the columns.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The most memory that the columns take for these bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.bytes * GROWTH
    }

    /// Takes the rows and leaves the columns empty.
    pub fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        self.bytes = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.name.finish()),
            Arc::new(self.gender.finish()),
            Arc::new(self.address.finish()),
            Arc::new(self.city.finish()),
            Arc::new(self.nation.finish()),
            Arc::new(self.zip.finish()),
            Arc::new(self.latitude.finish()),
            Arc::new(self.longitude.finish()),
            Arc::new(self.email.finish()),
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.timestamp.finish()),
        ];
        RecordBatch::try_new(schema::schema(), columns)
    }

    fn text_bytes(&self) -> u64 {
        let text = [
            &self.name,
            &self.gender,
            &self.address,
            &self.city,
            &self.nation,
            &self.zip,
            &self.email,
        ];
        text.iter().map(|column| column.values_slice().len() as u64).sum()
    }
}

/// The decimal digits of `number`, written into the end of `buffer` without allocating.
fn decimal(mut number: u128, buffer: &mut [u8; ZIP_BYTES_MAX as usize]) -> &str {
    let mut start = buffer.len();
    loop {
        start -= 1;
        buffer[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    // ASCII digits are UTF-8; the empty text can't come.
    std::str::from_utf8(&buffer[start..]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use arrow::array::AsArray;
    use chunk_ledger::{Offset, Timestamp};
    use pipeline_model::message;
    use proptest::prelude::*;

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
        assert!(columns.memory_bytes() <= row_memory_bytes_max(payload.len()));
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
            let said = columns.memory_bytes() + 512;
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
        let text = text.map(|column| column.values_capacity() + 4 * column.offsets_capacity());
        let eight = [
            columns.latitude.capacity(),
            columns.longitude.capacity(),
            columns.offset.capacity(),
            columns.timestamp.capacity(),
        ];
        text.iter().sum::<usize>()
            + 8 * eight.iter().sum::<usize>()
            + 4 * columns.partition.capacity()
    }

    proptest! {
        #[test]
        fn decimal_prints_as_std_does(number: u128) {
            let mut buffer = [0; ZIP_BYTES_MAX as usize];
            prop_assert_eq!(decimal(number, &mut buffer), number.to_string());
        }
    }
}
