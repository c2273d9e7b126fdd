//! A column of text in the making, as two plain vectors.

#![allow(unsafe_code, reason = "one call, which spares every value a second validation")]

use arrow::array::StringArray;
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};

/// All values in a row, and where each of them ends. Only [`Text::push`] adds to them.
#[derive(Debug, Default)]
pub(super) struct Text {
    values: String,
    ends: Vec<i32>,
}

impl Text {
    /// Appends a value and returns its length in bytes. A row group is closed long before its
    /// offsets pass 31 bits.
    #[inline]
    pub(super) fn push(&mut self, value: &str) -> usize {
        self.values.push_str(value);
        self.ends.push(self.values.len() as i32);
        value.len()
    }

    /// The column.
    ///
    /// # Panics
    ///
    /// If the values hold 2 GiB or more.
    pub(super) fn finish(self) -> StringArray {
        let mut offsets = Vec::with_capacity(self.ends.len() + 1);
        offsets.push(0);
        offsets.extend(self.ends);
        // Checks that they only grow.
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        // SAFETY: the values are UTF-8, and each offset is where one of them ended when it was
        // pushed: the end of a character. The last one is the end of the buffer.
        unsafe { StringArray::new_unchecked(offsets, Buffer::from(self.values.into_bytes()), None) }
    }

    #[cfg(test)]
    pub(super) fn allocated_bytes(&self) -> usize {
        self.values.capacity() + size_of::<i32>() * self.ends.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_column_is_what_validation_lets_pass(values: Vec<String>) {
            let mut text = Text::default();
            let bytes: usize = values.iter().map(|value| text.push(value)).sum();
            prop_assert_eq!(bytes, values.concat().len());
            let column = text.finish();
            prop_assert_eq!(&column, &StringArray::from_iter_values(&values));
            let (offsets, bytes, nulls) = column.into_parts();
            prop_assert!(StringArray::try_new(offsets, bytes, nulls).is_ok());
        }
    }
}
