//! Tables of any length, printed row by row: only the widths of the columns are held.

use std::fmt;

/// A column.
pub(crate) struct Column<T> {
    /// What stands above it.
    pub(crate) name: &'static str,
    /// Whether its values stand at the right, as numbers do.
    pub(crate) right: bool,
    /// Its value in a row.
    pub(crate) value: fn(&T) -> String,
}

/// Writes `rows` below the columns' names, in Markdown.
pub(crate) fn write<T>(
    f: &mut fmt::Formatter<'_>,
    columns: &[Column<T>],
    rows: &[T],
) -> fmt::Result {
    let length = |text: &str| text.chars().count();
    let widest = |column: &Column<T>| {
        let values = rows.iter().map(|row| length(&(column.value)(row)));
        values.fold(length(column.name), usize::max)
    };
    let widths: Vec<usize> = columns.iter().map(widest).collect();
    write_row(f, columns, &widths, |column| column.name.to_owned())?;
    for width in &widths {
        write!(f, "|-{:-<width$}-", "")?;
    }
    writeln!(f, "|")?;
    rows.iter().try_for_each(|row| write_row(f, columns, &widths, |column| (column.value)(row)))
}

fn write_row<T>(
    f: &mut fmt::Formatter<'_>,
    columns: &[Column<T>],
    widths: &[usize],
    value: impl Fn(&Column<T>) -> String,
) -> fmt::Result {
    for (column, width) in columns.iter().zip(widths) {
        let value = value(column);
        match column.right {
            true => write!(f, "| {value:>width$} ")?,
            false => write!(f, "| {value:<width$} ")?,
        }
    }
    writeln!(f, "|")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rows(Vec<(&'static str, u32)>);

    impl fmt::Display for Rows {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let columns = [
                Column {
                    name: "name",
                    right: false,
                    value: |(name, _): &(&str, u32)| (*name).into(),
                },
                Column { name: "n", right: true, value: |(_, number)| number.to_string() },
            ];
            write(f, &columns, &self.0)
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_value() {
        let expected = "\
| name   |   n |
|--------|-----|
| größer |   7 |
| b      | 100 |
";
        assert_eq!(Rows(vec![("größer", 7), ("b", 100)]).to_string(), expected);
    }
}
