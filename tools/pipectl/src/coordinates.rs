//! Where a message lies in a topic: `3+120` is offset 120 of partition 3.

use std::fmt;
use std::str::FromStr;

use chunk_ledger::{Offset, Partition};
use serde::Serialize;

/// A message's place in a topic that the context names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Coordinates {
    /// Its partition.
    #[serde(serialize_with = "partition")]
    pub partition: Partition,
    /// Its offset.
    #[serde(serialize_with = "offset")]
    pub offset: Offset,
}

/// A text is not of the form `PARTITION+OFFSET`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected PARTITION+OFFSET, such as 3+120")]
pub struct NoCoordinates;

impl Coordinates {
    /// The message at `offset` of `partition`.
    pub const fn new(partition: i32, offset: i64) -> Self {
        Self { partition: Partition(partition), offset: Offset(offset) }
    }
}

impl fmt::Display for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.partition, self.offset)
    }
}

impl FromStr for Coordinates {
    type Err = NoCoordinates;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (partition, offset) = text.split_once('+').ok_or(NoCoordinates)?;
        match (partition.parse(), offset.parse()) {
            (Ok(0..), Ok(0..)) if offset.starts_with('+') => Err(NoCoordinates),
            (Ok(partition @ 0..), Ok(offset @ 0..)) => Ok(Self::new(partition, offset)),
            _ => Err(NoCoordinates),
        }
    }
}

fn partition<S: serde::Serializer>(partition: &Partition, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_i32(partition.0)
}

fn offset<S: serde::Serializer>(offset: &Offset, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_i64(offset.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_read_back() {
        let coordinates = Coordinates::new(3, 120);
        assert_eq!(coordinates.to_string(), "3+120");
        assert_eq!("3+120".parse(), Ok(coordinates));
    }

    #[test]
    fn nothing_else_is_taken_for_them() {
        for text in ["", "3", "3+", "+120", "3+-1", "-3+120", "3++120", "3+120+1", "names+3+120"] {
            assert_eq!(text.parse::<Coordinates>(), Err(NoCoordinates), "{text:?}");
        }
    }
}
